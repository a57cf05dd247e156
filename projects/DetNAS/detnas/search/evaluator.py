"""What a path is worth: recalibrate, then evaluate on the held-out images."""

import contextlib
import io
import logging
import math
import random

import torch
from detectron2.data import MapDataset, get_detection_dataset_dicts
from detectron2.modeling import build_model
from torch.utils.data import DataLoader

from detnas.data.mapper import build_recalibration_mapper, is_classifier
from detnas.engine.evaluation import build_evaluator, build_test_loader
from detnas.modeling.backbone import find_supernet
from detnas.modeling.weights import load_weights

from .bn import recalibrate_bn

logger = logging.getLogger(__name__)


class CandidateEvaluator:
    """
    ``evaluator(path)`` gives the metrics of a path, such as {"bbox/AP": 23.4, ...}, the same ones for the same path.
    Model and recalibration images are built once.

    Args:
        cfg: a supernet's config. The first of ``DATASETS.TEST`` is the held-out set; recalibration images are drawn
            from ``DATASETS.TRAIN``.
        weights: checkpoint of the supernet; all names must match.
        recalibrate: False leaves the statistics of the checkpoint, to see what recalibration is good for.

    Raises:
        ValueError, FileNotFoundError: if the config is no supernet's or the weights do not match.
    """

    def __init__(self, cfg, weights, recalibrate=True):
        if len(cfg.DATASETS.TEST) != 1:
            raise ValueError(f"a search takes one held-out set; DATASETS.TEST names {len(cfg.DATASETS.TEST)}")
        self.model = build_model(cfg).eval()
        self.supernet = find_supernet(self.model)
        if self.supernet is None:
            raise ValueError(f'a search needs MODEL.DETNAS.ARCH "supernet"; it is "{cfg.MODEL.DETNAS.ARCH}"')
        load_weights(self.model, weights)
        self.seed = max(cfg.SEED, 0)
        with quiet("detectron2"):
            self.batches = build_recalibration_batches(cfg) if recalibrate else None
            self.loader = build_test_loader(cfg, cfg.DATASETS.TEST[0])
            self.metric = build_evaluator(cfg.DATASETS.TEST[0], distributed=False)

    def __call__(self, path):
        self.supernet.path = path
        with quiet("detectron2", "fvcore"):
            if self.batches is not None:
                recalibrate_bn(self.model, self.batches, self.seed)
            self.metric.reset()
            with torch.no_grad():
                for inputs in self.loader:
                    self.metric.process(inputs, self.model(inputs))
            # pycocotools prints.
            with contextlib.redirect_stdout(io.StringIO()):
                return flatten(self.metric.evaluate())


def build_recalibration_batches(cfg):
    """
    ``SEARCH.RECALIBRATION_IMAGES`` training images, drawn once by the seed, in memory, as batches of
    ``SEARCH.RECALIBRATION_BATCH``.
    """
    dicts = get_detection_dataset_dicts(cfg.DATASETS.TRAIN)
    count = cfg.SEARCH.RECALIBRATION_IMAGES
    if count > len(dicts):
        logger.warning(f"SEARCH.RECALIBRATION_IMAGES is {count}; the training set has {len(dicts)}: using them all.")
        count = len(dicts)
    dicts = random.Random(f"recalibration {max(cfg.SEED, 0)}").sample(dicts, count)
    if not is_classifier(cfg):
        # A batch is padded to its largest image, and padding counts in the statistics: keep like with like.
        dicts.sort(key=lambda d: d["width"] / d["height"])
    images = MapDataset(dicts, build_recalibration_mapper(cfg))
    # A list as collate function keeps the dicts; the loader only batches and reads ahead.
    return list(DataLoader(images, cfg.SEARCH.RECALIBRATION_BATCH, collate_fn=list, num_workers=0))


def flatten(results):
    """{task: {metric: value}} -> {"task/metric": value}, None for what could not be computed."""
    return {
        f"{task}/{metric}": float(value) if math.isfinite(value) else None
        for task, metrics in results.items()
        for metric, value in metrics.items()
    }


@contextlib.contextmanager
def quiet(*names):
    """Only warnings of these loggers: a search says one line per candidate."""
    levels = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    for named, _ in levels:
        named.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for named, level in levels:
            named.setLevel(level)
