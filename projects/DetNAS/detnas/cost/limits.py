"""The limits of a search: any number of them, on costs of the backbone, of the whole detector, and on latency."""

import os
import random

from detnas.config.constraint import Constraint, format_cost
from detnas.errors import UserError

from .detector import detector_costs
from .latency import LatencyMeter
from .table import CostTable

LATENCY, DETECTOR_LATENCY = "latency_ms", "detector_latency_ms"
#: random paths among which a joint limit must let one pass, and paths whose latency is measured for that
_PATHS, _TIMED = 20_000, 20
#: steps in which a path is repaired
_STEPS = 200


class Limits:
    """
    ``limits(path)`` says whether a path meets ``SEARCH.CONSTRAINTS``. What adds up over blocks is in a table; the
    latency is measured on this machine for paths that meet everything else, and kept in ``OUTPUT_DIR/latency.json``, so
    that a search that is taken up again decides the same.

    Args:
        cfg: of the search.
        space: of its paths.
        foretell: function (cfg, space) -> :class:`detnas.export.foretold_latency.ForetoldLatency`, called where the
            config asks for the latency of the detector, which then adds up over blocks, too.

    Raises:
        UserError: if a constraint cannot be read, or no path can meet it, or all of them together; with the smallest
            value that can be reached.
    """

    def __init__(self, cfg, space, foretell=None):
        search = cfg.SEARCH
        self.space = space
        # The latency last: it takes the longest to check.
        self.constraints = sorted(map(Constraint.parse, search.CONSTRAINTS), key=lambda c: c.metric == LATENCY)
        self.additive = [c for c in self.constraints if c.metric != LATENCY]
        self.table = CostTable.measure(space, search.FLOPS_RESOLUTION)
        limited = {constraint.metric for constraint in self.constraints}
        try:
            self.table = with_detector(self.table, cfg, tuple(search.DETECTOR_RESOLUTION))
        except UserError:
            # A meta-architecture of one's own can be searched all the same.
            if limited & {"detector_flops", "detector_params"}:
                raise
        self.foretold = None
        if DETECTOR_LATENCY in limited | set(search.OBJECTIVES):
            if foretell is None:
                raise UserError(f"{DETECTOR_LATENCY} is known to search_net.py alone")
            self.foretold = foretell(cfg, space)
            self.table = self.table.with_metric(DETECTOR_LATENCY, self.foretold.constant, self.foretold.table)
        self.meter = None
        if LATENCY in limited:
            size, cache = tuple(search.LATENCY_RESOLUTION), os.path.join(cfg.OUTPUT_DIR, "latency.json")
            self.meter = LatencyMeter(space, size, search.LATENCY_BATCH, cfg.MODEL.DEVICE, cache=cache)
        self._check_reachable(random.Random(f"limits {max(cfg.SEED, 0)}"))

    def __call__(self, path):
        return all(constraint.allows(self.cost(constraint.metric, path)) for constraint in self.constraints)

    def cost(self, metric, path):
        """Cost of a path by the metric's name; a latency is measured if it is not known."""
        return self.meter(path) if metric == LATENCY else self.table.cost(metric, path)

    def costs(self, path):
        """All costs of a path by name: multiply-adds, parameters and, where it is limited, the latency in ms."""
        measured = {LATENCY: self.meter(path)} if self.meter else {}
        return {**self.table.costs(path), **measured}

    def repair(self, path, rng):
        """Change ops of a path, block by block, towards limits that it breaks; the result may still break some."""
        path = list(path)
        for _ in range(_STEPS):
            broken = [c for c in self.additive if not c.allows(self.table.cost(c.metric, path))]
            if not broken:
                break
            constraint, block = rng.choice(broken), rng.randrange(len(path))
            costs = self.table.table[constraint.metric][block]
            too_much = self.table.cost(constraint.metric, path) > constraint.max
            better = [op for op, cost in enumerate(costs) if cost != costs[path[block]]]
            better = [op for op in better if (costs[op] < costs[path[block]]) == too_much]
            if better:
                path[block] = rng.choice(better)
        return tuple(path)

    def _check_reachable(self, rng):
        for constraint in self.additive:
            constraint.check_reachable(self.table)
        legal = []
        for number in range(_PATHS):
            path = self.space.random_path(rng)
            # Rare ones are found by repairing what random paths break.
            path = self.repair(path, rng) if number % 10 == 9 else path
            if all(c.allows(self.table.cost(c.metric, path)) for c in self.additive):
                legal.append(path)
                if len(legal) == (_TIMED if self.meter else 1):
                    break
        if not legal:
            reachable = []
            for metric in dict.fromkeys(c.metric for c in self.additive):
                low, high = self.table.bounds(metric)
                reachable.append(f"{metric} {format_cost(metric, low)} to {format_cost(metric, high)}")
            raise UserError(
                f'no path of "{self.space.name}" was found that meets all of SEARCH.CONSTRAINTS together '
                f"({_PATHS} were tried): {', '.join(map(str, self.constraints))}; "
                f"reachable one by one: {', '.join(reachable)}"
            )
        if self.meter:
            constraint = self.constraints[-1]
            times = [self.meter(path) for path in legal]
            if not any(map(constraint.allows, times)):
                raise UserError(
                    f'no path of "{self.space.name}" was found with {constraint}: of {len(times)} that meet the other '
                    f"limits the fastest takes {min(times):.1f} ms and the slowest {max(times):.1f} ms"
                )


def without_latency(cfg):
    """A copy of a config without limits on latencies, which are those of the machine that searches: for a training."""
    cfg = cfg.clone()
    cfg.defrost()
    metrics = [Constraint.parse(text).metric for text in cfg.SEARCH.CONSTRAINTS]
    # The backbone's latency is an objective only where it is limited.
    unknown = {DETECTOR_LATENCY, *({LATENCY} & set(metrics))}
    cfg.SEARCH.OBJECTIVES = [name for name in cfg.SEARCH.OBJECTIVES if name not in unknown]
    cfg.SEARCH.CONSTRAINTS = [text for text, metric in zip(cfg.SEARCH.CONSTRAINTS, metrics) if metric not in unknown]
    return cfg


def with_detector(table, cfg, resolution):
    """
    A :class:`detnas.cost.table.CostTable` with "detector_flops" and "detector_params" beside the backbone's: a detector
    costs what its backbone costs at the size of its images, and a constant.

    Raises:
        UserError: if the meta-architecture is none that :func:`detnas.cost.detector.detector_costs` knows.
    """
    costs = detector_costs(cfg, resolution)
    at_size = CostTable.measure(table.space, resolution)
    for metric in ("flops", "params"):
        rest = costs["whole"][metric] - costs["backbone"][metric]
        backbone = at_size.table[f"backbone_{metric}"]
        table = table.with_metric(f"detector_{metric}", at_size.stem[f"backbone_{metric}"] + rest, backbone)
    return table
