#!/usr/bin/env python
"""
List everything that is wrong with data sets, before a training finds it: each image is read and compared with what its
annotation says of it.

    python tools/check_dataset.py coco:boxes.json:images
    python tools/check_dataset.py voc:VOC2007:trainval voc:VOC2007:test
    python tools/check_dataset.py folder:CLASSES imagenet_val coco_2017_train

Data sets are named as in DATASETS.TRAIN. It ends with 1 if something is wrong.
"""

import argparse
import multiprocessing.pool
import os
import sys

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from detectron2.data import DatasetCatalog, MetadataCatalog
from tqdm import tqdm

from detnas.data.checks import coco_problems, image_problem, read_coco_json, read_voc_xml
from detnas.data.datasets import parse_dataset_name, register_dataset, require
from detnas.data.standard import class_folder
from detnas.data.voc import image_set_file, read_ids
from detnas.errors import user_errors


def look_at(name):
    """
    The annotations of a data set.

    Returns:
        problems, a list of sentences; and its images as arguments of ``image_problem``.
    """
    if name in DatasetCatalog or class_folder(name):
        form = "registered"
    else:
        form, *parts = parse_dataset_name(name)
    if form == "coco":
        for path in parts:
            require(path, name)
        return look_at_coco(*parts)
    if form == "voc":
        require(image_set_file(*parts), name)
        return look_at_voc(parts[:1], parts[1])
    register_dataset(name)
    metadata = MetadataCatalog.get(name)
    form = metadata.get("evaluator_type")
    if form == "coco":
        return look_at_coco(metadata.json_file, metadata.image_root)
    if form == "pascal_voc":
        folders = [os.path.join(metadata.dirname, folder) for folder in metadata.get("folders", [""])]
        return look_at_voc(folders, metadata.split)
    return [], [(d["file_name"],) for d in DatasetCatalog.get(name)]


def look_at_coco(json_file, image_root):
    data = read_coco_json(json_file)
    problems = list(coco_problems(data, json_file, image_root, flat_too=True))
    images = [
        (os.path.join(image_root, image["file_name"]), (image["width"], image["height"]), json_file)
        for image in data["images"]
        if {"file_name", "width", "height"} <= image.keys()
    ]
    # Those that are not there are among the problems already.
    return problems, [image for image in images if os.path.isfile(image[0])]


def look_at_voc(folders, split):
    problems, images = [], []
    for folder in folders:
        for image_id in read_ids(folder, split):
            xml = os.path.join(folder, "Annotations", f"{image_id}.xml")
            try:
                _, size, wrong = read_voc_xml(xml)
            except (OSError, ValueError) as e:
                problems.append(str(e))
                continue
            problems += wrong
            images.append((os.path.join(folder, "JPEGImages", f"{image_id}.jpg"), size, xml))
    return problems, images


def check(name):
    """Print what is wrong with a data set; the number of sentences."""
    problems, images = look_at(name)
    # Decoding takes the time, and no other thread waits for it.
    with multiprocessing.pool.ThreadPool(os.cpu_count()) as pool:
        found = pool.imap(lambda image: image_problem(*image), images, chunksize=8)
        problems += filter(None, tqdm(found, total=len(images), desc="images", unit="", disable=None))
    for problem in problems:
        print(problem)
    print(f"{name}: {len(images)} images read, {len(problems) or 'no'} problem{'s' * (len(problems) != 1)}")
    return len(problems)


def main(argv=None):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="DATASET", help="as in DATASETS.TRAIN")
    args = parser.parse_args(argv)
    with user_errors():
        return int(sum([check(name) for name in args.names]) > 0)


if __name__ == "__main__":
    sys.exit(main())
