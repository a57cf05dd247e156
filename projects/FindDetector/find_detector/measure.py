"""Measures on this machine: seconds of a training step, a recalibration and an evaluation; costs that are limited."""

import contextlib
import itertools
import os
import statistics
import tempfile
import time

from detnas import compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.engine.hooks import CallbackHook

from detnas.config.constraint import Constraint, format_cost
from detnas.config.load import load_config
from detnas.cost.limits import DETECTOR_LATENCY, Limits
from detnas.evaluation.evaluators import only_warnings
from detnas.launch.setup import fit_to_device, register_datasets
from detnas.search.evaluator import CandidateEvaluator
from detnas.search.settings import supernet_limits
from detnas.training.trainer import build_trainer

from .plan import Measured

#: steps until the first images are read, and fewest that are measured
_FIRST, _FEWEST = 2, 2
#: batches of a recalibration and of an evaluation, and most images of each
_BATCHES, _IMAGES = 2, 8


def measure(config_file: str, seconds: float, threads: int, started: float) -> Measured:
    """
    Measure in this process.

    Args:
        config_file: of a supernet; its OUTPUT_DIR stays as it is.
        seconds: for the steps of a training.
        threads: of torch.
        started: seconds that this process took to start and to import everything.
    """
    cfg = machine_config(config_file)
    torch.set_num_threads(threads)
    with only_warnings("detectron2", "fvcore", "detnas"):
        recalibration, evaluation = _candidate_seconds(cfg.clone())
        supernet_step, start = step_seconds(cfg, seconds)
    # The steps of the run have processes of their own.
    torch.cuda.empty_cache()
    return Measured(started + start, supernet_step, recalibration, evaluation)


def machine_config(config_file):
    """The config of a training on this machine, its data sets registered."""
    cfg = load_config(config_file)
    register_datasets(cfg)
    fit_to_device(cfg)
    return cfg


class _Enough(BaseException):
    """Ends a training that is measured; no Exception, since nothing went wrong."""


def step_seconds(cfg, seconds, clock=time.perf_counter):
    """Seconds of a training step, reading included, and those until the end of the first; changes ``cfg``."""
    start, ends = clock(), []

    def after_step(_):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends.append(clock())
        if len(ends) >= _FIRST + _FEWEST and ends[-1] - ends[_FIRST - 1] > seconds:
            raise _Enough

    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_Enough):
        cfg.OUTPUT_DIR, cfg.DATASETS.TEST = folder, ()
        trainer = build_trainer(cfg)
        trainer.register_hooks([CallbackHook(after_step=after_step)])
        trainer.train(0, cfg.SOLVER.MAX_ITER)
    return statistics.mean(after - before for before, after in itertools.pairwise(ends[_FIRST - 1:])), ends[0] - start


def _candidate_seconds(cfg):
    """Seconds of an image of a recalibration and of an evaluation, over two batches each, on random weights."""
    for name in ("RECALIBRATION_BATCH", "EVALUATION_BATCH"):
        cfg.SEARCH[name] = min(cfg.SEARCH[name], _IMAGES)
    cfg.SEARCH.RECALIBRATION_IMAGES = _BATCHES * cfg.SEARCH.RECALIBRATION_BATCH
    evaluator = CandidateEvaluator(cfg, None)
    evaluator.activate((0,) * evaluator.space.num_blocks)
    # The first pass reads the images, which stay in memory.
    evaluator.recalibrate()
    recalibration = _seconds(evaluator.recalibrate) / sum(map(len, evaluator.recalibration.batches))
    batches = list(itertools.islice(iter(evaluator.held_out), _BATCHES))
    evaluator.metric.reset()
    return recalibration, _seconds(evaluator.collect, batches) / sum(map(len, batches))


def _seconds(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def detector_limit(limit: str) -> str:
    """A limit of the command line for a config, in which ``latency_ms`` is the latency of the backbone alone."""
    latency = Constraint.parse(limit).metric == "latency_ms"
    return limit.replace("latency_ms", DETECTOR_LATENCY) if latency else limit


def measured_limits(writer, config_file: str) -> Limits:
    """
    The limits of a run as its search sees them, by the config of any of its networks. Latencies of detectors are
    measured with as many threads as the steps have, and kept where the search looks for them.
    """
    cfg = machine_config(config_file)
    cfg.SEARCH.CONSTRAINTS, cfg.OUTPUT_DIR = writer.limits, writer.output("search")
    os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
    torch.set_num_threads(writer.plan.recipe.threads)
    return supernet_limits(cfg)


def plain_network(limits: Limits) -> list:
    """Name and arch of the first network of one op that meets the limits, all 3x3 if it does; [] if none does."""
    space = limits.space
    return next(([name, space.format(path)] for name, path in space.anchors().items() if limits(path)), [])


def limited_costs(limits: Limits, path: tuple) -> dict:
    """{metric: such as "12.3 ms"} of what is limited; the latency of a detector is measured, not predicted."""
    found, (predictor,) = {}, limits.costs.parts_of(DETECTOR_LATENCY) or [None]
    for metric in dict.fromkeys(constraint.metric for constraint in limits.constraints):
        measured = metric == DETECTOR_LATENCY
        found[metric] = format_cost(metric, predictor.meter([path])[0] if measured else limits.costs.cost(metric, path))
    return found
