"""What a path is worth: recalibrate, then evaluate on the held-out images."""

import contextlib
import io
import math

import torch
from detectron2.modeling import build_model

from detnas.engine.bn import build_recalibration_batches, recalibrate_bn
from detnas.engine.evaluation import build_evaluator, build_test_loader, quiet
from detnas.modeling.backbone import find_supernet
from detnas.modeling.weights import load_weights


class CandidateEvaluator:
    """
    ``evaluator(path)`` gives the metrics of a path, such as {"bbox/AP": 23.4, ...}, the same ones for the same path.
    Model and recalibration images are built once.

    Args:
        cfg: a supernet's config. The first of ``DATASETS.TEST`` is the held-out set; recalibration images are drawn
            from ``DATASETS.TRAIN``.
        weights: checkpoint of the supernet; all names must match. None for random weights, by the seed.
        recalibrate: False leaves the statistics of the checkpoint, to see what recalibration is good for.

    Raises:
        ValueError, FileNotFoundError: if the config is no supernet's or the weights do not match.
    """

    def __init__(self, cfg, weights, recalibrate=True):
        if len(cfg.DATASETS.TEST) != 1:
            raise ValueError(f"a search takes one held-out set; DATASETS.TEST names {len(cfg.DATASETS.TEST)}")
        self.seed = max(cfg.SEED, 0)
        torch.manual_seed(self.seed)
        self.model = build_model(cfg).eval()
        self.supernet = find_supernet(self.model)
        if self.supernet is None:
            raise ValueError(f'a search needs MODEL.DETNAS.ARCH "supernet"; it is "{cfg.MODEL.DETNAS.ARCH}"')
        if weights is not None:
            load_weights(self.model, weights)
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


def flatten(results):
    """{task: {metric: value}} -> {"task/metric": value}, None for what could not be computed."""
    return {
        f"{task}/{metric}": float(value) if math.isfinite(value) else None
        for task, metrics in results.items()
        for metric, value in metrics.items()
    }
