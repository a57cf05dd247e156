"""Evaluates a model on its test sets. Results have Detectron2's form {task: {metric: value}}, values in 0..100."""

import contextlib
import gc
import io
import json
import logging
import math
import operator
import os
import random
from collections import Counter

import faster_coco_eval
import numpy as np
import torch
from detectron2.data import DatasetCatalog, DatasetFromList, MapDataset, MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.samplers import InferenceSampler
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator, inference_on_dataset, print_csv_format
from detectron2.structures import BoxMode
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import create_small_table
from torch.utils.data import DataLoader

from detnas.data.datasets import take_part
from detnas.data.ecp import DIFFICULTIES, TYPES, read_frame
from detnas.data.mapper import build_mapper, is_classifier
from detnas.errors import UserError

from .lamr import LogAverageMissRate
from .voc import VOCEvaluator

logger = logging.getLogger(__name__)

#: prefix of metrics of which lower is better; a search takes the negative, "-lamr/pedestrian-reasonable"
LOWER_IS_BETTER = "lamr/"
#: evaluator type of a data set -> metrics that it reports
_REPORTED = {
    "classification": ("classification/top1", "classification/top5"),
    "coco": tuple(f"bbox/{name}" for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")),
    "ecp": (*(f"bbox/{name}" for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")),
            *(f"lamr/{kind}-{name}" for kind in TYPES for name in DIFFICULTIES)),
    "pascal_voc": tuple(f"bbox/{name}" for name in ("AP", "AP50", "AP75")),
}


class ClassificationEvaluator(DatasetEvaluator):
    """Top-1 and top-5 accuracy in percent, over all processes."""

    def reset(self):
        self._right = []  # for each image: is its class the first, and is it among the first five

    def process(self, inputs, outputs):
        for x, output in zip(inputs, outputs):
            top = output["scores"].topk(min(5, len(output["scores"]))).indices.tolist()
            self._right.append((top[0] == x["label"], x["label"] in top))

    def evaluate(self):
        gathered = comm.gather(self._right)
        if not comm.is_main_process():
            return {}
        top1, top5 = 100 * np.mean([right for part in gathered for right in part], axis=0)
        return {"classification": {"top1": float(top1), "top5": float(top5)}}


class BoxEvaluator(COCOEvaluator):
    """COCOEvaluator of boxes with faster-coco-eval, which gives pycocotools' figures. Only processed images count."""

    def __init__(self, dataset_name, distributed=True, output_dir=None):
        # Detectron2's constructor would read the annotations from a COCO file.
        self._logger, self._cpu_device, self._metadata = logger, torch.device("cpu"), MetadataCatalog.get(dataset_name)
        self._tasks, self._distributed, self._output_dir = ("bbox",), distributed, output_dir
        self._use_fast_impl, self._max_dets_per_image, self._kpt_oks_sigmas = True, [1, 10, 100], ()
        self._do_evaluation, self._coco_api = True, faster_coco_eval.COCO(coco_form(dataset_name))

    def _eval_predictions(self, predictions, img_ids=None):
        # Detectron2 changes its input, which a race evaluates again together with more images.
        predictions = [{**image, "instances": list(map(dict, image["instances"]))} for image in predictions]
        collecting = gc.isenabled()
        gc.disable()  # looking for garbage among hundreds of thousands of dicts takes half of the time
        try:
            super()._eval_predictions(predictions, [image["image_id"] for image in predictions])
        finally:
            if collecting:
                gc.enable()

    def _derive_coco_results(self, coco_eval, iou_type, class_names=None):
        results = super()._derive_coco_results(coco_eval, iou_type, class_names)
        return dict.fromkeys(results, 0.0) if coco_eval is None else results  # no detections: Detectron2 says NaN


class EuroCityEvaluator(BoxEvaluator):
    """COCO's metrics, and log-average miss rates of EuroCity Persons in percent (lower is better)."""

    def __init__(self, dataset_name, distributed=True, output_dir=None):
        super().__init__(dataset_name, distributed, output_dir)
        self._sources = {image["image_id"]: image["source"] for image in DatasetCatalog.get(dataset_name)}

    def _eval_predictions(self, predictions, img_ids=None):
        measure, unknown = LogAverageMissRate(), Counter()
        for image in predictions:
            found = []
            for one in image["instances"]:
                x, y, width, height = one["bbox"]
                found.append({"identity": self._metadata.thing_classes[one["category_id"]], "score": one["score"],
                              "x0": x, "y0": y, "x1": x + width, "y1": y + height})
            measure.add(read_frame(self._sources[image["image_id"]], unknown), found)
        super()._eval_predictions(predictions, img_ids)
        self._results["lamr"] = {f"{kind}-{name}": 100 * rate for kind, rates in measure.figures().items()
                                 for name, rate in rates.items()}
        self._logger.info("Log-average miss rates in percent:\n" + create_small_table(self._results["lamr"]))


def coco_form(dataset_name):
    """Return a data set's annotations as a COCO dict, from its json file if the metadata name one."""
    metadata = MetadataCatalog.get(dataset_name)
    if file := metadata.get("json_file"):
        with PathManager.open(file, "rb") as f:
            data = json.load(f)
        for part in metadata.get("parts", ()):
            data["images"] = take_part(sorted(data["images"], key=operator.itemgetter("id")), *part)
            kept = {image["id"] for image in data["images"]}
            data["annotations"] = [ann for ann in data["annotations"] if ann["image_id"] in kept]
        return data
    images, annotations = [], []
    for image in DatasetCatalog.get(dataset_name):
        images.append({"id": image["image_id"], "width": image["width"], "height": image["height"]})
        for ann in image["annotations"]:
            box = BoxMode.convert(ann["bbox"], ann["bbox_mode"], BoxMode.XYWH_ABS)
            found = {"id": len(annotations) + 1, "image_id": image["image_id"], "bbox": box}  # id 0 means none
            # VOC's annotations have no area, and difficult objects do not count.
            area, crowd = ann.get("area", box[2] * box[3]), ann.get("iscrowd", ann.get("difficult", 0))
            annotations.append({**found, "area": area, "category_id": ann["category_id"], "iscrowd": int(crowd)})
    categories = [{"id": number, "name": name} for number, name in enumerate(metadata.thing_classes)]
    return {"images": images, "annotations": annotations, "categories": categories}


def build_evaluator(dataset_name, output_dir=None, distributed=True):
    """Return the evaluator of a data set, or of a part of its images. Raises a UserError if there is none."""
    form = _form(dataset_name)
    if form == "classification":
        return ClassificationEvaluator()
    if form in ("coco", "ecp"):
        return (BoxEvaluator if form == "coco" else EuroCityEvaluator)(dataset_name, distributed, output_dir)
    return VOCEvaluator(dataset_name, distributed)


def _form(dataset_name):
    form = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if form not in _REPORTED:
        raise UserError(f'data set "{dataset_name}": no evaluator for its form "{form}"')
    return form


def reported_metrics(dataset_name):
    """Return the metrics, "task/metric", that a registered data set's evaluator reports, single classes last."""
    form = _form(dataset_name)
    classes = MetadataCatalog.get(dataset_name).get("thing_classes", ()) if form in ("coco", "ecp") else ()
    return [*_REPORTED[form], *(f"bbox/AP-{name}" for name in classes)]


def read_test_images(dataset_name, count=0, seed=0):
    """Return the dicts of a test set, or ``count`` evenly spaced ones. The seed determines where they begin."""
    dicts = get_detection_dataset_dicts([dataset_name], filter_empty=False)
    if not 0 < count < len(dicts):
        return dicts
    start = random.Random(f"test images {seed}").random()
    return [dicts[int((number + start) * len(dicts) / count)] for number in range(count)]


def build_test_loader(cfg, dicts):
    """Load images one by one for detection, as is standard, in batches of the training's size for classification."""
    batch = 1
    if is_classifier(cfg):
        batch = max(1, cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size() // cfg.SOLVER.ACCUMULATE)
    images = MapDataset(DatasetFromList(dicts, copy=False), build_mapper(cfg, is_train=False))
    sampler, workers = InferenceSampler(len(images)), cfg.DATALOADER.NUM_WORKERS
    return DataLoader(images, batch, sampler=sampler, num_workers=workers, collate_fn=list)


def evaluate(cfg, model, images=0):
    """Evaluate a model on ``DATASETS.TEST``, on ``images`` of each set (0: all). Several sets give results by name."""
    results = {}
    for name in cfg.DATASETS.TEST:
        dicts = read_test_images(name, images, max(cfg.SEED, 0))
        evaluator = build_evaluator(name, os.path.join(cfg.OUTPUT_DIR, "inference"))
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
            results[name] = inference_on_dataset(model, build_test_loader(cfg, dicts), evaluator)
        if comm.is_main_process() and logger.isEnabledFor(logging.INFO):
            logger.info(f"Results on {name}:")
            print_csv_format(results[name])
    return next(iter(results.values())) if len(results) == 1 else results


def drop_non_finite(results):
    """Return nested results without NaN, such as AP without objects of a size. JSON has no NaN."""
    return {
        name: drop_non_finite(value) if isinstance(value, dict) else value
        for name, value in (results or {}).items()
        if isinstance(value, dict) or math.isfinite(value)
    }


@contextlib.contextmanager
def only_warnings(*names):
    """Let these loggers pass only warnings and errors within the block."""
    levels = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    for named, _ in levels:
        named.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for named, level in levels:
            named.setLevel(level)
