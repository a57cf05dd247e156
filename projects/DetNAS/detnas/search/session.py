"""From a config to the parts of a search that all methods share."""

import logging
import platform

import detectron2
import torch

from .executor import LocalExecutor
from .ray_executor import RayExecutor

logger = logging.getLogger(__name__)


def versions():
    """What runs a search, for the header of its log."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "detectron2": detectron2.__version__,
    }


def build_executor(cfg, method, workers=1):
    """
    The executor that ``SEARCH.EXECUTOR`` names; with more than one worker it is "ray".

    Args:
        cfg: the config of the search.
        method: a :class:`detnas.search.method.Method`.
        workers: how many the command line asks for.

    Raises:
        ValueError, FileNotFoundError: if its evaluator cannot be built, or there is no room for workers.
    """
    search = cfg.SEARCH
    settings = {"metric": search.METRIC, "tries": search.TRIES, "timeout": search.TIMEOUT}
    if search.EXECUTOR == "here" and workers == 1:
        return LocalExecutor(method.evaluator()(), **settings)
    # In a worker a mistake would come late, and once for each candidate.
    method.check_evaluator()
    workers = workers if workers > 1 else search.WORKERS
    logger.info(f"Starting {workers} Ray workers.")
    gpus = 1 if cfg.MODEL.DEVICE.startswith("cuda") else 0
    return RayExecutor(method.evaluator(), workers=workers, gpus=gpus, address=search.RAY_ADDRESS, **settings)
