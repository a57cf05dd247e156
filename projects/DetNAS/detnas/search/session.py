"""From a config to the parts of a search."""

import dataclasses
import functools
import hashlib
import logging
import os
import platform

import detectron2
import torch
from detectron2.modeling import build_model
from detectron2.utils.file_io import PathManager

from detnas.config.keys import OWN_SPACE, config_space
from detnas.data.datasets import register_dataset
from detnas.data.standard import TEST_SETS
from detnas.evaluation.evaluators import reported_metrics
from detnas.launch.earlier_steps import read_arch
from detnas.modeling.weights import load_weights
from detnas.space import uniform_paths

from .evaluator import CandidateEvaluator
from .evolution import Searcher, best_first
from .executor import LocalExecutor
from .log import VERSIONS
from .pareto import pareto_order
from .ray_executor import RayExecutor

logger = logging.getLogger(__name__)

#: the word of SEARCH.INITIAL for the networks of a single op
UNIFORM_OPS = "uniform_ops"
#: settings without which two searches are the same one; the number of generations may grow
_SETTINGS = """METRIC CONSTRAINTS OBJECTIVES FLOPS_RESOLUTION DETECTOR_RESOLUTION POPULATION NUM_PARENTS NUM_MUTATE
    NUM_CROSS MUTATE_PROB ASYNCHRONOUS RECALIBRATION_IMAGES RECALIBRATION_BATCH""".split()
#: settings that change scores a little
_FASTER = ("CHANNELS_LAST", "AUTOCAST")


def check_metric(cfg):
    """
    Also warns of a search on test images.

    Raises:
        ValueError: if the held-out set has no ``SEARCH.METRIC``, before a candidate is evaluated.
    """
    for name in cfg.DATASETS.TEST:
        reported = reported_metrics(name)
        if cfg.SEARCH.METRIC not in reported:
            there = ", ".join(metric for metric in reported if "/AP-" not in metric)
            raise ValueError(f'SEARCH.METRIC "{cfg.SEARCH.METRIC}" is not reported for {name}; there are: {there}')
        if name in TEST_SETS:
            logger.warning(
                f"This search chooses networks by {name}, whose figures are then worth nothing: hold training images "
                "out with tools/split_dataset.py"
            )


def initial_paths(cfg, limits):
    """
    What the first generation begins with, ``SEARCH.INITIAL``. What breaks a limit, or finds no place in a generation,
    is left out with a line in the log.

    Returns:
        dict: name -> path, no path twice; an arch is its own name.

    Raises:
        FileNotFoundError, ValueError: if one is no network of the space.
    """
    space, found = limits.space, {}
    for word in cfg.SEARCH.INITIAL:
        if not isinstance(word, str):
            raise ValueError(f'SEARCH.INITIAL {word} is no text: put quotes around an arch, also with "-" in it')
        named = uniform_paths(space) if word == UNIFORM_OPS else {word: read_arch(word, space, "SEARCH.INITIAL")}
        found.update({name: path for name, path in named.items() if path not in found.values()})
    legal = {name: path for name, path in found.items() if limits(path)}
    if len(legal) < len(found):
        names = ", ".join(name for name in found if name not in legal)
        logger.info(f"SEARCH.INITIAL: not within the limits, and left out: {names}")
    names = list(legal)
    taken, rest = names[: cfg.SEARCH.POPULATION], names[cfg.SEARCH.POPULATION :]
    if rest:
        logger.info(f"SEARCH.INITIAL: no place among SEARCH.POPULATION {len(taken)}, and left out: {', '.join(rest)}")
    return {name: legal[name] for name in taken}


def search_header(cfg, limits, weights, initial=None):
    """
    What makes two searches the same one, and the versions of what ran it.

    Args:
        cfg: a supernet's config.
        limits: a :class:`detnas.cost.limits.Limits`.
        weights: path of the supernet's checkpoint; None for random weights.
        initial: of :func:`initial_paths`.
    """
    space = config_space(cfg)
    return {
        "space": space.name,
        **({"own_space": dataclasses.asdict(space)} if space.name == OWN_SPACE else {}),
        "seed": cfg.SEED,
        "train": list(cfg.DATASETS.TRAIN),
        "held_out": list(cfg.DATASETS.TEST),
        "weights_sha256": weights_id(weights),
        **{key.lower(): cfg.SEARCH[key] for key in _SETTINGS},
        # Only where they are used, so that logs from before there was a choice can be continued.
        **{key.lower(): cfg.SEARCH[key] for key in _FASTER if cfg.SEARCH[key]},
        **({"initial": {name: space.format(path) for name, path in initial.items()}} if initial else {}),
        **({"latency": limits.meter.settings} if limits.meter else {}),
        VERSIONS: {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "detectron2": detectron2.__version__,
        },
    }


def weights_id(path):
    """What the log's header says of a checkpoint; None stands for random weights."""
    if not path:
        return "random weights"
    digest = hashlib.sha256()
    with PathManager.open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def build_searcher(cfg, limits, initial=None):
    """
    Args:
        cfg: a supernet's config.
        limits: a :class:`detnas.cost.limits.Limits`.
        initial: of :func:`initial_paths`; None: the first generation is random.

    Raises:
        ValueError: if an objective is no known cost, or the numbers do not fit.
    """
    search, space = cfg.SEARCH, limits.space
    known = limits.costs((0,) * space.num_blocks) if search.OBJECTIVES else {}
    for name in search.OBJECTIVES:
        if name not in known:
            raise ValueError(
                f'SEARCH.OBJECTIVES: unknown cost "{name}"; there are: {", ".join(known)} '
                "(latency_ms with a limit on it in SEARCH.CONSTRAINTS)"
            )
    return Searcher(
        space,
        limits,
        population=search.POPULATION,
        num_parents=search.NUM_PARENTS,
        num_mutate=search.NUM_MUTATE,
        num_cross=search.NUM_CROSS,
        mutate_prob=search.MUTATE_PROB,
        seed=max(cfg.SEED, 0),
        initial=tuple((initial or {}).values()),
        order=pareto_order(search.OBJECTIVES) if search.OBJECTIVES else best_first,
        repair=limits.repair,
    )


def build_evaluator(cfg, weights, recalibrate=True):
    """A :class:`CandidateEvaluator`, also in a new process that knows nothing of the data yet."""
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        register_dataset(name)
    return CandidateEvaluator(cfg, weights, recalibrate)


def build_executor(cfg, weights, workers=1):
    """
    The executor that ``SEARCH.EXECUTOR`` names; with more than one worker it is "ray".

    Raises:
        ValueError, FileNotFoundError: if the config is no supernet's, the weights do not match, or there is no such
            executor.
    """
    search = cfg.SEARCH
    settings = {"metric": search.METRIC, "tries": search.TRIES, "timeout": search.TIMEOUT}
    if search.EXECUTOR == "here" and workers == 1:
        return LocalExecutor(build_evaluator(cfg, weights), **settings)
    if weights:
        # In a worker a mistake would come late, and once for each candidate.
        load_weights(build_model(cfg), weights)
    workers = workers if workers > 1 else search.WORKERS
    logger.info(f"Starting {workers} Ray workers.")
    gpus = 1 if cfg.MODEL.DEVICE.startswith("cuda") else 0
    # A worker may have another working directory.
    weights = os.path.abspath(weights) if weights and "://" not in weights else weights
    build = functools.partial(build_evaluator, cfg, weights)
    return RayExecutor(build, workers=workers, gpus=gpus, address=search.RAY_ADDRESS, **settings)
