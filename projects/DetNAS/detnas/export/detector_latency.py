"""Measures how long detectors, as ONNX files, take on this machine. Images have H x W pixels."""

import functools
import hashlib
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F

from detnas.batch_norm.recalibration import reset_cycle_norms
from detnas.config.load import with_settings, without_unused
from detnas.cost.latency import MeasuredTimes, processor
from detnas.errors import UserError
from detnas.modeling.builders import build_network

from .engines import TORCH, engine_version, installed_engines, open_onnx
from .network import use_plain_norms
from .traced import require_onnx, to_onnx, whole_part

#: milliseconds of a turn; seconds of all turns together; fewest and most counted runs of each network
TURN, SECONDS, FEWEST, MOST = 10, 60, 5, 20


class DetectorMeter:
    """
    Measures median milliseconds of exported detectors in ONNX Runtime on the CPU, with torch's number of threads, on
    one image of ``SEARCH.DETECTOR_RESOLUTION``, which a path may set. UserError if a detector cannot be one ONNX file.

    With random weights, and with noise as the image and for the norms, the time depends on the architecture alone: a
    detector has as many proposals as its settings allow, and no box scores enough to be kept.

    Args:
        cfg: of a supernet, or of one network of the space.
        cache: file of :class:`detnas.cost.latency.MeasuredTimes`.
    """

    def __init__(self, cfg, space, cache=None):
        require_onnx("detector_latency_ms")
        self.space = space
        self.cfg = _for_timing(cfg, space)
        self.part, reason = whole_part(self.cfg)
        if self.part is None:
            raise UserError(f"detector_latency_ms needs the detector as one ONNX file: {reason}")
        size = "x".join(map(str, cfg.SEARCH.DETECTOR_RESOLUTION))
        #: what the time depends on beside the network
        self.settings = (
            f"{processor()}, {torch.get_num_threads()} threads, {engine_version('onnxruntime')}, 1x3x{size}, "
            f"median of {FEWEST} to {MOST} warm runs"
        )
        # Keys of other packages must not hide earlier measurements.
        model = hashlib.sha256(without_unused(self.cfg).MODEL.dump().encode()).hexdigest()[:16]
        self.times = MeasuredTimes(f"detectors of {space}, config {model}; {self.settings}", cache)

    def __call__(self, paths):
        """Milliseconds of the detector of each path, a list."""
        return self.times.of({self.space.format(path): path for path in paths}, self._measure)

    def _measure(self, paths):
        return median_times([self.run_of(*self._export(path)) for path in paths])

    def run_of(self, data, image):
        """A function that runs an ONNX file, given as bytes, on a tensor."""
        return functools.partial(open_onnx(data, threads=torch.get_num_threads()), image)

    def _export(self, path):
        cfg = with_settings(self.cfg, self.space.settings(path))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, image = build_network(cfg).eval().requires_grad_(False), noise(cfg.SEARCH.DETECTOR_RESOLUTION)
        _take_statistics(model, image)
        try:
            return to_onnx(model, self.part, image), image
        except (RuntimeError, ValueError) as e:
            reason = str(e).strip().splitlines()[0]
            raise UserError(f"detector_latency_ms: torch cannot write the {self.part.name}: {reason}") from None


def noise(resolution):
    """An image (3, H, W) float32, 0..255, of coarse noise from torch's generator."""
    height, width = resolution
    return F.interpolate(torch.rand(1, 3, -(-height // 8), -(-width // 8)) * 255, (height, width))[0]


@torch.no_grad()
def engine_times(networks, seconds, most):
    """
    Time ONNX files in each installed engine, and their networks in torch, by :func:`times_in_turns`.

    Args:
        networks: (file, :class:`detnas.export.traced.Part`, model, image (3, H, W) float32) of each.

    Returns:
        list of {engine: (median, 95th percentile) in milliseconds}, one for each network.
    """
    engines, runs = [TORCH, *installed_engines()], []
    for file, part, model, image in networks:
        runs.append(functools.partial(part.run, model, [{"image": image}]))
        runs += [functools.partial(open_onnx(file, name, torch.get_num_threads()), image) for name in engines[1:]]
    found = [(float(np.median(taken)), float(np.quantile(taken, 0.95)))
             for taken in times_in_turns(runs, seconds, most)]
    return [dict(zip(engines, found[i:i + len(engines)])) for i in range(0, len(found), len(engines))]


def median_times(runs, seconds=None, most=None):
    return list(map(statistics.median, times_in_turns(runs, seconds, most)))


def times_in_turns(runs, seconds=None, most=None):
    """
    Run functions in turns, so that other load slows down all alike. Returns for each a list of milliseconds.

    The first turn of two does not count: after the others the processor's caches hold nothing of a function, and a
    small detector alone takes half of the time. Runs of five turns and more are spared it: they take as long anyway.

    Args:
        seconds: for all functions together; each runs :data:`FEWEST` times in any case.
        most: runs of each function, about.
    """
    seconds, most, times = seconds or SECONDS, most or MOST, [[] for _ in runs]
    end = time.perf_counter() + seconds
    while (fewest := min(map(len, times))) < FEWEST or (fewest < most and time.perf_counter() < end):
        for run, taken in zip(runs, times):
            if len(taken) < max(FEWEST, most):
                first = _turn(run)
                taken += first if first[0] >= 5 * TURN else _turn(run)
    return times


def _turn(run):
    """Run a function for :data:`TURN` milliseconds, at least once. Returns the milliseconds of each run."""
    taken = []
    while sum(taken) < TURN:
        start = time.perf_counter()
        run()
        taken.append(1e3 * (time.perf_counter() - start))
    return taken


def _for_timing(cfg, space):
    """The config on a CPU, without keys that do not change the time; no box reaches the score threshold."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS, cfg.MODEL.DETNAS.CLASSES = "cpu", "", []
    if "MODEL.DETNAS.ARCH" in space.settings(next(iter(space.anchors().values()))):
        cfg.MODEL.DETNAS.ARCH = ""
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = cfg.MODEL.RETINANET.SCORE_THRESH_TEST = 1.0
    use_plain_norms(cfg)
    return cfg


@torch.no_grad()
def _take_statistics(model, image):
    """Give the batch norms the statistics of an image and its mirror image; otherwise all boxes would be alike."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d) and m.track_running_stats]
    for norm in norms:
        norm.train().momentum = 1.0
    reset_cycle_norms(model)
    model([{"image": image}, {"image": image.flip(-1)}])
    reset_cycle_norms(model)
    model.eval()
