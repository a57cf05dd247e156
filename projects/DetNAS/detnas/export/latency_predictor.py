"""The time of a whole detector as a sum over its blocks, fitted to the times of some."""

import dataclasses
import logging
import os
import random
import statistics

import torch
from detectron2.modeling import build_backbone

from detnas.cost.latency import read_cache, update_cache
from detnas.cost.limits import DETECTOR_LATENCY
from detnas.evaluation.readiness import kendall_tau
from detnas.modeling.choices import choice_modules
from detnas.zoo import SUPERNET

from .detector_latency import DetectorMeter, median_times
from .traced import module_to_onnx

#: random networks that are measured beside those of a single op: to fit, and to see how well others are foretold
FITTED, HELD_OUT = 4, 8
#: seconds for the blocks, and runs of each: they are short, and one that is off is so in every network
SECONDS, RUNS = 15, 300
#: A block is faster alone than in a network, where its input is not at hand. What says more than this is noise.
SCALES = (0.5, 3.0)

#: mean error from which on a search warns
TOO_MUCH = 0.05

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ForetoldLatency:
    """
    The :class:`detnas.cost.costs.Costs` "detector_latency_ms", milliseconds of detectors: ``constant``, and
    ``table[block][op]`` for each block.

    Args:
        meter: what measures a detector.
        words: of the log's header: machine, settings, and how well the time of other networks is foretold.
        others: path -> measured milliseconds of those networks.
    """

    constant: float
    table: tuple
    meter: DetectorMeter
    words: str = ""
    others: dict = dataclasses.field(default_factory=dict)

    metrics = (DETECTOR_LATENCY,)

    def cost(self, metric, path):
        return self(path)

    def bounds(self, metric):
        return self.constant + sum(map(min, self.table)), self.constant + sum(map(max, self.table))

    def header(self):
        return {"detector_latency": self.words}

    def __call__(self, path):
        return self.constant + sum(ops[op] for ops, op in zip(self.table, path))

    def describe(self, paths):
        """Measure the detectors of paths; lines for the user with both times of each."""
        for path, time in zip(paths, self.meter(list(paths))):
            arch = self.meter.space.format(path)
            yield f"Detector {arch} in ONNX Runtime: {self(path):.1f} ms foretold, {time:.1f} ms measured"


def foretell_latency(cfg, space):
    """
    Measure the exported detectors of the networks of one op and of some random ones, and fit a sum over blocks, each
    measured alone, to some of them. A line in the log says how well the others are foretold. All measurements are kept
    in ``OUTPUT_DIR/latency.json``.

    Args:
        cfg: of a supernet; ``SEARCH.DETECTOR_RESOLUTION`` is the size of the image.
        space: of its paths.

    Raises:
        UserError: see :class:`DetectorMeter`.
    """
    cache = os.path.join(cfg.OUTPUT_DIR, "latency.json")
    meter = DetectorMeter(cfg, space, cfg.SEARCH.DETECTOR_RESOLUTION, cache)
    fitted, held_out = _networks(space, random.Random(f"latency {max(cfg.SEED, 0)}"))
    if not all(space.format(path) in meter.measured for path in (*fitted, *held_out)):
        logger.info(f"Measuring {len(fitted) + len(held_out)} exported detectors in ONNX Runtime ...")
    times = dict(zip((*fitted, *held_out), meter((*fitted, *held_out))))
    blocks = _block_times(meter)
    foretold = _fit(blocks, fitted, times, meter)
    words = f"{meter.settings}; foretold from its blocks"
    others = {path: times[path] for path in held_out}
    if others:
        words += f"; {how_well(foretold, others)}"
    logger.info(f"detector_latency_ms: {words}")
    if others and mean_error(foretold, others) > TOO_MUCH:
        logger.warning(
            f"Times are foretold with errors above {TOO_MUCH:.0%}, most likely since the machine did other work "
            f"meanwhile: remove {cache} and start the search again in a new folder when it rests"
        )
    return dataclasses.replace(foretold, words=words, others=others)


def mean_error(foretold, measured):
    """The mean of the relative errors; see :func:`how_well`."""
    return statistics.mean(abs(foretold(path) - time) / time for path, time in measured.items())


def how_well(foretold, measured):
    """
    In words, how well the times of networks are foretold.

    Args:
        foretold: function path -> milliseconds.
        measured: path -> milliseconds.
    """
    tau = kendall_tau([foretold(path) for path in measured], list(measured.values()))
    return (
        f"of {len(measured)} other networks, which take {min(measured.values()):.1f} to {max(measured.values()):.1f} "
        f"ms, by {mean_error(foretold, measured):.1%} on average, in an order that agrees by {tau:.2f} (tau)"
    )


def _networks(space, rng):
    """Paths to fit, and others, all of them different; fewer where the space has no more."""
    paths = dict.fromkeys(space.anchors().values())
    first = len(paths)
    for _ in range(100):
        if len(paths) < first + FITTED + HELD_OUT:
            paths[space.random(rng)] = None
    paths = list(paths)
    return paths[: first + FITTED], paths[first + FITTED :]


def _fit(blocks, paths, times, meter):
    sums = [sum(ops[op] for ops, op in zip(blocks, path)) for path in paths]
    taken = [times[path] for path in paths]
    middle, mean = statistics.mean(sums), statistics.mean(taken)
    spread = sum((s - middle) ** 2 for s in sums)
    slope = sum((s - middle) * (t - mean) for s, t in zip(sums, taken)) / spread if spread else 1.0
    slope = min(max(slope, SCALES[0]), SCALES[1])
    table = tuple(tuple(slope * time for time in ops) for ops in blocks)
    return ForetoldLatency(mean - slope * middle, table, meter)


def _block_times(meter):
    """Milliseconds of every op of every block alone, [block][op]; those of equal ones are measured once."""
    key = f"blocks of {meter.key}"
    modules, sizes = _blocks(meter)
    known = read_cache(meter.cache).get(key, {})
    names = [[f"block {number} op {number_of_op}" for number_of_op in range(len(ops))]
             for number, ops in enumerate(modules)]
    if not all(name in known for row in names for name in row):
        kinds = {}  # what is equal -> names
        for row, ops, size in zip(names, modules, sizes):
            for name, op in zip(row, ops):
                kinds.setdefault((str(op), size), []).append((name, op))
        runs = []
        for (_, size), members in kinds.items():
            image = torch.rand(size, generator=torch.Generator().manual_seed(0))
            runs.append(meter.run_of(module_to_onnx(members[0][1], image), image))
        for members, time in zip(kinds.values(), median_times(runs, SECONDS, RUNS)):
            known.update({name: time for name, _ in members})
        update_cache(meter.cache, key, known)
    return [[known[name] for name in row] for row in names]


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
    backbone(torch.zeros(1, 3, *(-(-side // divisor) * divisor for side in meter.resolution)))
    for hook in hooks:
        hook.remove()
    return [list(block) for block in blocks], sizes
