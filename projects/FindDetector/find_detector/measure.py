"""
Measures what a step of a training, a recalibration and an evaluation take on this machine, in seconds of the clock.

    python -m find_detector.measure --config-file CONFIG --output FILE.json [--seconds 10] [KEY VALUE ...]

CONFIG is a supernet's, or that of one network, of which no candidates are measured. Its OUTPUT_DIR stays as it is.
"""

import argparse
import contextlib
import itertools
import json
import os
import sys
import tempfile
import time

from detnas import compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.engine import HookBase

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.errors import user_errors
from detnas.evaluation.evaluators import only_warnings
from detnas.files import write_text
from detnas.launch.earlier_steps import read_arch
from detnas.launch.machine import fit_to_device
from detnas.launch.setup import register_datasets
from detnas.search.evaluator import CandidateEvaluator
from detnas.training.trainer import build_trainer
from detnas.zoo import SUPERNET

#: steps until the first images are read, and fewest and most that are measured
_FIRST, _FEWEST, _MOST = 2, 2, 200
#: batches of a recalibration and of an evaluation, and most images of each
_BATCHES, _IMAGES = 2, 8


class _Enough(BaseException):
    """Ends a training that is measured; no Exception, since nothing went wrong."""


class _Clock(HookBase):
    """Notes when each step ends, and ends the training when there are enough."""

    def __init__(self, seconds):
        self.seconds, self.times = seconds, []

    def after_step(self):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        measured = self.times[_FIRST - 1:]
        if len(measured) > _MOST or len(measured) > _FEWEST and measured[-1] - measured[0] > self.seconds:
            raise _Enough


def step_seconds(cfg, seconds):
    """
    Seconds of a training step, reading included, and those until the end of the first.

    Args:
        cfg: changed in place; ``OUTPUT_DIR`` becomes a temporary folder.
        seconds: for which it is measured, about.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        cfg.OUTPUT_DIR, cfg.DATASETS.TEST = folder, ()
        trainer, clock = build_trainer(cfg), _Clock(seconds)
        trainer.register_hooks([clock])
        with contextlib.suppress(_Enough):
            trainer.train(0, _FIRST + _MOST + 1)
    measured = clock.times[_FIRST - 1:]
    return (measured[-1] - measured[0]) / (len(measured) - 1), clock.times[0] - start


def candidate_seconds(cfg):
    """Seconds of an image of a recalibration and of an evaluation, over two batches each, on random weights."""
    for name in ("RECALIBRATION_BATCH", "EVALUATION_BATCH"):
        cfg.SEARCH[name] = min(cfg.SEARCH[name], _IMAGES)
    cfg.SEARCH.RECALIBRATION_IMAGES = _BATCHES * cfg.SEARCH.RECALIBRATION_BATCH
    evaluator = CandidateEvaluator(cfg, None)
    evaluator.activate((0,) * evaluator.space.num_blocks)
    with only_warnings("detectron2", "fvcore", "detnas"):
        # The first pass reads the images, which stay in memory.
        evaluator.recalibrate()
        recalibration = _time(evaluator.recalibrate) / sum(map(len, evaluator.recalibration.batches))
        batches = list(itertools.islice(iter(evaluator.held_out), _BATCHES))
        evaluator.metric.reset()
        evaluation = _time(lambda: evaluator.collect(batches)) / sum(map(len, batches))
    return recalibration, evaluation


def _time(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(config_file, seconds, opts=()):
    """
    Args:
        config_file: of a supernet, or of one network.
        seconds: for the steps of each training that is measured.

    Returns:
        dict of seconds: "start", "step"; of a supernet also "plain_step" (all 3x3), "recalibration", "evaluation".
    """
    cfg = load_config(config_file, opts)
    detnas, space = cfg.MODEL.DETNAS, config_space(cfg)
    if detnas.ARCH != SUPERNET:
        # The winner's is named by the file that the search left.
        detnas.ARCH = space.format(read_arch(detnas.ARCH, space))
    register_datasets(cfg)
    fit_to_device(cfg)
    single = cfg.clone()
    with only_warnings("detectron2", "fvcore", "detnas"):
        supernet = detnas.ARCH == SUPERNET
        candidate = candidate_seconds(cfg.clone()) if supernet else ()
        step, start = step_seconds(cfg, seconds)
        found = {"start": start, "step": step}
        if supernet:
            single.MODEL.DETNAS.ARCH = space.format(next(iter(space.anchors().values())))
            found["plain_step"], _ = step_seconds(single, seconds)
            found["recalibration"], found["evaluation"] = candidate
    return found


def main(args):
    began = time.perf_counter()
    # Python and the imports took time before; a process's own clock counts it.
    imported = _process_age() or 0.0
    with user_errors():
        found = measure(args.config_file, args.seconds, args.opts)
    found["start"] += imported
    found["took"] = imported + time.perf_counter() - began
    write_text(args.output, json.dumps(found, indent=1))
    return found


def _process_age():
    """Seconds since this process was started; None where it cannot be known."""
    try:
        with open("/proc/self/stat") as f:
            ticks = int(f.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime") as f:
            return float(f.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def parser():
    parser = argparse.ArgumentParser(
        prog="python -m find_detector.measure", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--output", required=True, metavar="FILE", help="json, of seconds")
    parser.add_argument("--seconds", type=float, default=10, help="for the steps of each training that is measured")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="settings over those of the config")
    return parser


if __name__ == "__main__":
    main(parser().parse_args(sys.argv[1:]))
