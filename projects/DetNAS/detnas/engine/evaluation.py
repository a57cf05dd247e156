"""Results of a model on the test sets of its config, in Detectron2's form {task: {metric: value}}, values in 0..100."""

import logging
import os
from collections import OrderedDict

import torch
from detectron2.data import MetadataCatalog, build_detection_test_loader
from detectron2.evaluation import (COCOEvaluator, DatasetEvaluator, PascalVOCDetectionEvaluator, inference_on_dataset,
                                   print_csv_format)
from detectron2.utils import comm

from detnas.data.mapper import build_mapper


class ClassificationEvaluator(DatasetEvaluator):
    """Top-1 and top-5 accuracy in percent, over all ranks."""

    def reset(self):
        self._counts = torch.zeros(3)  # images, right at top 1, right within top 5

    def process(self, inputs, outputs):
        for x, output in zip(inputs, outputs):
            top = output["scores"].topk(min(5, len(output["scores"]))).indices.tolist()
            self._counts += torch.tensor([1.0, top[0] == x["label"], x["label"] in top])

    def evaluate(self):
        counts = comm.gather(self._counts)
        if not comm.is_main_process():
            return {}
        total, top1, top5 = sum(counts).tolist()
        return {"classification": {"top1": 100 * top1 / total, "top5": 100 * top5 / total}}


def build_evaluator(dataset_name, output_dir=None, distributed=True):
    """
    The evaluator of a data set.

    Raises:
        ValueError: if its form has none here.
    """
    form = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if form == "classification":
        return ClassificationEvaluator()
    if form == "coco":
        return COCOEvaluator(dataset_name, tasks=("bbox",), distributed=distributed, output_dir=output_dir)
    if form == "pascal_voc":
        return PascalVOCDetectionEvaluator(dataset_name)
    raise ValueError(f'data set "{dataset_name}": no evaluator for its form "{form}"')


def build_test_loader(cfg, dataset_name):
    return build_detection_test_loader(cfg, dataset_name, mapper=build_mapper(cfg, is_train=False))


def evaluate(cfg, model):
    """Evaluate a model on all of ``DATASETS.TEST``. Returns the results; of several sets, by name."""
    results = OrderedDict()
    for name in cfg.DATASETS.TEST:
        evaluator = build_evaluator(name, os.path.join(cfg.OUTPUT_DIR, "inference"))
        results[name] = inference_on_dataset(model, build_test_loader(cfg, name), evaluator)
        if comm.is_main_process():
            logging.getLogger(__name__).info(f"Results on {name}:")
            print_csv_format(results[name])
    return next(iter(results.values())) if len(results) == 1 else results
