"""How a supernet is doing: a few fixed paths, each with batch-norm statistics of its own."""

import logging
import random

import torch

from detnas.modeling.backbone import find_supernet

from .bn import build_recalibration_batches, recalibrate_bn
from .evaluation import evaluate, quiet
from .partial import UpToLastNorm

logger = logging.getLogger(__name__)

#: ops of which whole networks are evaluated, and what those are called
_UNIFORM = {"shufflenet_3x3": "all_3x3", "xception_3x3": "all_xception"}


def fixed_paths(space, seed, num_random):
    """
    Returns:
        dict: name -> path; "all_3x3" and "all_xception" where the space has those ops, and "random_1", ... by the seed.
    """
    paths = {
        name: (space.ops.index(op),) * space.num_blocks for op, name in _UNIFORM.items() if op in space.ops
    }
    rng = random.Random(f"fixed paths {seed}")
    for number in range(1, num_random + 1):
        paths[f"random_{number}"] = space.random_path(rng)
    return paths


class FixedPaths:
    """
    ``evaluation()`` gives {name of the path: results} on all of ``DATASETS.TEST``. The supernet keeps its own
    statistics and its path. Recalibration images are read on the first call.

    Args:
        cfg: a supernet's config.
        model: with the supernet; may be in training.
    """

    def __init__(self, cfg, model):
        self.cfg, self.model, self.supernet = cfg, model, find_supernet(model)
        self.paths = fixed_paths(self.supernet.space, max(cfg.SEED, 0), cfg.SUPERNET.EVAL_RANDOM_PATHS)
        self.up_to_last_norm, self.batches = UpToLastNorm(model), None

    def __call__(self):
        if self.batches is None:
            self.batches = build_recalibration_batches(self.cfg)
        training, before = self.model.training, self.supernet.path
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        results = {}
        for name, path in self.paths.items():
            self.supernet.path = path
            with quiet("detectron2", "fvcore", "detnas.engine.evaluation"):
                recalibrate_bn(self.up_to_last_norm, self.batches, max(self.cfg.SEED, 0))
                results[name] = evaluate(self.cfg, self.model)
            logger.info(f"path {self.supernet.space.format(path)} ({name}): {_short(results[name])}")
        self.supernet.path = before
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                buffer.copy_(buffers[name])
        self.model.train(training)
        return results


def _short(results):
    """The main figures of nested results in one line."""
    words = []
    for name, value in results.items():
        if isinstance(value, dict):
            words.append(f"{name} {_short(value)}")
        elif name in ("AP", "AP50", "top1", "top5"):
            words.append(f"{name} {value:.2f}")
    return ", ".join(words)
