"""Predicts a detector's latency as a sum over its blocks. A block's input has C channels of H x W pixels."""

import dataclasses
import logging
import os
import random
import statistics

import torch
from detectron2.modeling import build_backbone

from detnas.cost.latency import MeasuredTimes
from detnas.cost.limits import DETECTOR_LATENCY
from detnas.evaluation.readiness import kendall_tau
from detnas.modeling.choices import choice_modules
from detnas.zoo import SUPERNET

from .detector_latency import DetectorMeter, median_times
from .traced import module_to_onnx

#: random networks to measure beside those of a single op: for the fit, and for a test of the prediction
FITTED, HELD_OUT = 4, 8
#: seconds for all blocks, and most runs of each: an error in a block's time is in every network
SECONDS, RUNS = 15, 300
#: range of a block's time in a network / time alone, with its input at hand; beyond it is noise
SCALES = (0.5, 3.0)
#: relative mean error above which a search warns
WARN_ABOVE = 0.05

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LatencyPredictor:
    """
    The :class:`detnas.cost.costs.Costs` "detector_latency_ms": ``constant`` plus ``table[block][op]`` of each block.

    Args:
        others: path -> measured milliseconds of detectors outside the fit.
    """

    constant: float
    table: tuple
    meter: DetectorMeter
    others: dict = dataclasses.field(default_factory=dict)

    metrics = (DETECTOR_LATENCY,)

    @classmethod
    def fit(cls, blocks, times, meter, others=()):
        """Fit ``times``, path -> milliseconds, by a line over sums of ``blocks``, [block][op] -> milliseconds alone."""
        sums = [sum(ops[op] for ops, op in zip(blocks, path)) for path in times]
        slope = statistics.linear_regression(sums, list(times.values())).slope if len(set(sums)) > 1 else 1.0
        slope = min(max(slope, SCALES[0]), SCALES[1])
        table = tuple(tuple(slope * time for time in ops) for ops in blocks)
        constant = statistics.mean(times.values()) - slope * statistics.mean(sums)
        return cls(constant, table, meter, dict(others))

    def predict(self, path):
        """Milliseconds of a path's detector."""
        return self.constant + sum(ops[op] for ops, op in zip(self.table, path))

    def cost(self, metric, path):
        return self.predict(path)

    def bounds(self, metric):
        return self.constant + sum(map(min, self.table)), self.constant + sum(map(max, self.table))

    def header(self):
        return {"detector_latency": f"{self.meter.settings}; predicted from its blocks; {self.quality}"}

    @property
    def mean_error(self):
        """Mean relative error over ``others``; 0 without any."""
        errors = [abs(self.predict(path) - time) / time for path, time in self.others.items()]
        return statistics.mean(errors) if errors else 0.0

    @property
    def quality(self):
        """How well ``others`` are predicted, in words."""
        times = list(self.others.values())
        if not times:
            return "no other network to compare with"
        tau = kendall_tau(list(map(self.predict, self.others)), times)
        return (f"of {len(times)} other networks, which take {min(times):.1f} to {max(times):.1f} ms, by "
                f"{self.mean_error:.1%} on average, in an order that agrees by {tau:.2f} (tau)")

    def describe(self, paths):
        """Measure the detectors of paths. Yields a line for the user with both times of each."""
        for path, time in zip(paths, self.meter(list(paths))):
            arch = self.meter.space.format(path)
            yield f"Detector {arch} in ONNX Runtime: {self.predict(path):.1f} ms predicted, {time:.1f} ms measured"


def build_latency_predictor(cfg, space):
    """
    Measure blocks and some detectors of a supernet on an image of ``SEARCH.DETECTOR_RESOLUTION``, and fit a predictor.
    The log says how well it predicts other detectors. ``OUTPUT_DIR/latency.json`` keeps all times.
    """
    cache = os.path.join(cfg.OUTPUT_DIR, "latency.json")
    meter = DetectorMeter(cfg, space, cache)
    rng, paths = random.Random(f"latency {max(cfg.SEED, 0)}"), dict.fromkeys(space.anchors().values())
    fitted = len(paths) + FITTED
    for _ in range(100):  # a small space may have fewer
        if len(paths) < fitted + HELD_OUT:
            paths[space.random(rng)] = None
    if not all(space.format(path) in meter.times.known for path in paths):
        logger.info(f"Measuring {len(paths)} exported detectors in ONNX Runtime ...")
    times = list(zip(paths, meter(list(paths))))
    predictor = LatencyPredictor.fit(_block_times(meter), dict(times[:fitted]), meter, times[fitted:])
    logger.info(f"{DETECTOR_LATENCY}: {predictor.header()['detector_latency']}")
    if predictor.mean_error > WARN_ABOVE:
        logger.warning(
            f"Times are predicted with errors above {WARN_ABOVE:.0%}, most likely since the machine did other work "
            f"meanwhile: remove {cache} and start the search again in a new folder when it rests"
        )
    return predictor


def _block_times(meter):
    """Milliseconds of every op of every block alone, [block][op]. Equal ops are measured once."""
    first, ops_of, names = {}, {}, []
    for number, (ops, size) in enumerate(zip(*_blocks(meter))):
        names.append([first.setdefault((str(op), size), f"block {number} op {i}") for i, op in enumerate(ops)])
        ops_of.update({name: (op, size) for name, op in zip(names[-1], ops)})
    times = MeasuredTimes(f"blocks of {meter.times.settings}", meter.times.file)
    times.of(ops_of, lambda missing: median_times([_run(meter, *op) for op in missing], SECONDS, RUNS))
    return [[times.known[name] for name in row] for row in names]


def _run(meter, op, size):
    image = torch.rand(size, generator=torch.Generator().manual_seed(0))
    return meter.run_of(module_to_onnx(op, image), image)


@torch.no_grad()
def _blocks(meter):
    """The ops of each block, and the size of its input (1, C, H, W) for an image of the meter's size."""
    cfg = meter.cfg.clone()
    cfg.MODEL.DETNAS.ARCH = SUPERNET
    backbone = build_backbone(cfg).eval().requires_grad_(False)
    blocks, sizes = list(choice_modules(backbone).values()), []
    hooks = [
        block.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape))) for block in blocks
    ]
    divisor = max(backbone.size_divisibility, 1)
    backbone(torch.zeros(1, 3, *(-(-side // divisor) * divisor for side in cfg.SEARCH.DETECTOR_RESOLUTION)))
    for hook in hooks:
        hook.remove()
    return [list(block) for block in blocks], sizes
