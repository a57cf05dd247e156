#!/usr/bin/env python
"""
List what is wrong with data sets before a training finds it. Each set is registered, and each image read, as in a
training. Annotations, evaluated as detections, must have AP 100, and no image may be in two of the sets.

    python tools/check_dataset.py FOLDER_OF_AN_EXPORT
    python tools/check_dataset.py coco:boxes.json:images yolo:data.yaml:val
    python tools/check_dataset.py voc:VOC2007:trainval voc:VOC2007:test
    python tools/check_dataset.py folder:CLASSES imagenet_val coco_2017_train

Data sets are named as in DATASETS.TRAIN. The exit code is 1 if something is wrong.
"""

import argparse
import multiprocessing.pool
import os
import sys

import detnas.command_line  # isort: skip  # noqa: F401  first: from here on Ctrl-C is told in a word
import detnas.compat  # isort: skip  # noqa: F401  it mends Detectron2 0.6
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from tqdm import tqdm

from detnas.data.clean import Unusable
from detnas.data.datasets import register_dataset
from detnas.data.leaks import check_leaks
from detnas.data.mapper import DetectionMapper
from detnas.data.reading import ImageReader
from detnas.errors import UserError, user_errors
from detnas.evaluation.evaluators import build_evaluator, only_warnings
from detnas.search.evaluator import collected_metrics

#: detections of an image that COCO's metric counts
MOST_DETECTIONS = 100


def check(name):
    """Print what was mended in a data set and what is wrong with it; returns the number of problems."""
    try:
        with only_warnings("detnas"):
            register_dataset(name)
    except Unusable as e:
        problems, images = e.problems or [str(e)], 0
    else:
        metadata, dicts = MetadataCatalog.get(name), DatasetCatalog.get(name)
        for sentence in metadata.get("said", ()):
            print(f"mended: {sentence}")
        problems = [*metadata.get("doubts", ()), *image_problems(dicts)]
        images = len(dicts)
        if not problems and metadata.evaluator_type != "classification":
            problems = own_detections_problems(name, dicts)
    for problem in problems:
        print(problem)
    print(f"{name}: {images} images read, {len(problems) or 'no'} problem{'s' * (len(problems) != 1)}")
    return len(problems)


def image_problems(dicts):
    """A sentence for each image that a training cannot read."""
    read = ImageReader()
    mapper = DetectionMapper(read, is_train=True, augmentations=[], image_format="BGR")

    def problem(dataset_dict):
        try:
            mapper(dataset_dict) if "annotations" in dataset_dict else read(dataset_dict, "RGB")
        except UserError as e:
            return str(e)

    # Decoding takes the time, and threads do it side by side.
    with multiprocessing.pool.ThreadPool(os.cpu_count()) as pool:
        found = pool.imap(problem, dicts, chunksize=8)
        return list(filter(None, tqdm(found, total=len(dicts), desc="images", unit="", disable=None)))


def own_detections_problems(name, dicts):
    """A sentence for each class whose annotations, evaluated as detections, have another AP than 100."""
    crowded = sum(len(image["annotations"]) > MOST_DETECTIONS for image in dicts)
    if crowded and MetadataCatalog.get(name).evaluator_type == "coco":
        print(f"{name}: {crowded} images have more than {MOST_DETECTIONS} boxes, of which COCO's metric counts as many")
        return []
    evaluator = build_evaluator(name, distributed=False)
    evaluator.reset()
    for image in dicts:
        anns = [ann for ann in image["annotations"] if not ann.get("iscrowd")]
        boxes = [BoxMode.convert(ann["bbox"], ann["bbox_mode"], BoxMode.XYXY_ABS) for ann in anns]
        found = Instances((image["height"], image["width"]))
        found.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4))
        found.scores = torch.ones(len(anns))
        found.pred_classes = torch.tensor([ann["category_id"] for ann in anns], dtype=torch.long)
        evaluator.process([image], [{"instances": found}])
    with only_warnings("detectron2"):
        metrics = collected_metrics(evaluator)
    wrong = {key: value for key, value in metrics.items() if "AP-" in key or key == "bbox/AP"}
    return [
        f"{name}: its annotations, taken for detections, have {key} {value:.2f}, not 100"
        for key, value in wrong.items()
        if value is not None and value < 99.99
    ]


def main(argv=None):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="DATASET", help="as in DATASETS.TRAIN")
    names = list(dict.fromkeys(parser.parse_args(argv).names))
    with user_errors():
        problems = sum([check(name) for name in names])
        if len(names) > 1 and not problems:
            for (a, b), leaks in check_leaks(names).items():
                if leaks:
                    print(f"{a} and {b}: {len(leaks)} images are in both, {leaks[0]} the first")
                problems += len(leaks)
        return int(problems > 0)


if __name__ == "__main__":
    sys.exit(main())
