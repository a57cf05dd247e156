"""What networks cost, and the limits of a search."""

import os
from typing import NamedTuple

from detnas.config.constraint import Constraint, format_cost
from detnas.cost.detector import backbone_costs, detector_costs
from detnas.cost.latency import LatencyMeter
from detnas.cost.limits import DETECTOR_LATENCY, LATENCY
from detnas.errors import UserError

from .backbone import SPNet
from .fit import with_code


class SerialLimits:
    """
    ``limits(code)`` says whether a code meets ``SEARCH.CONSTRAINTS``. Costs are counted on torch's meta device: exact,
    without any arithmetic, and once for each code. A latency is measured on this machine, for codes that meet all other
    limits, and kept in ``OUTPUT_DIR/latency.json``, so that a search that is taken up again decides the same.

    Args:
        cfg: of the search.
        start: its start network, a code.

    Raises:
        UserError: if a constraint cannot be read, or the start network breaks it.
    """

    def __init__(self, cfg, start):
        self.cfg = cfg
        # The latency last: it takes the longest to check.
        self.constraints = sorted(map(Constraint.parse, cfg.SEARCH.CONSTRAINTS), key=lambda c: c.metric == LATENCY)
        if DETECTOR_LATENCY in [c.metric for c in self.constraints]:
            raise UserError(f'{DETECTOR_LATENCY}: SEARCH.METHOD "{cfg.SEARCH.METHOD}" can limit {LATENCY} instead')
        self._costs = {}
        self.meter = _latency_meter(cfg) if LATENCY in [c.metric for c in self.constraints] else None
        for constraint in self.constraints:
            cost = self.cost(constraint.metric, start)
            if not constraint.allows(cost):
                raise UserError(
                    f'the start network, MODEL.SPNAS.CODE "{start}", has {format_cost(constraint.metric, cost)} '
                    f"{constraint.metric}, which breaks the limit {constraint}"
                )

    def __call__(self, code):
        return all(constraint.allows(self.cost(constraint.metric, code)) for constraint in self.constraints)

    def cost(self, metric, code):
        """Cost of a code by the metric's name; a latency is measured if it is not known."""
        return self.meter(code) if metric == LATENCY else self._counted(code)[metric]

    def costs(self, code):
        """
        Multiply-adds and parameters of the backbone and, where they can be counted, of the whole detector; where it is
        limited, the latency in ms.
        """
        return {**self._counted(code), **({LATENCY: self.meter(code)} if self.meter else {})}

    def _counted(self, code):
        if code not in self._costs:
            self._costs[code] = self._count(code)
        return self._costs[code]

    def _count(self, code):
        cfg, search = with_code(self.cfg, code), self.cfg.SEARCH
        backbone = backbone_costs(cfg, tuple(search.FLOPS_RESOLUTION))
        costs = {f"backbone_{metric}": value for metric, value in backbone.items()}
        try:
            whole = detector_costs(cfg, tuple(search.DETECTOR_RESOLUTION))["whole"]
        except UserError:
            # A meta-architecture of one's own can be searched all the same.
            if any(constraint.metric.startswith("detector") for constraint in self.constraints):
                raise
            return costs
        return {**costs, **{f"detector_{metric}": value for metric, value in whole.items()}}


class _Networks(NamedTuple):
    """What the time of a code depends on beside the code."""

    block: str
    base_width: int
    stem: str
    shortcut: str

    def format(self, code):
        return str(code)


def _latency_meter(cfg):
    spnas, search = cfg.MODEL.SPNAS, cfg.SEARCH
    networks = _Networks(spnas.BLOCK, spnas.BASE_WIDTH, spnas.STEM, spnas.SHORTCUT)
    return LatencyMeter(
        networks,
        tuple(search.LATENCY_RESOLUTION),
        search.LATENCY_BATCH,
        cfg.MODEL.DEVICE,
        cache=os.path.join(cfg.OUTPUT_DIR, "latency.json"),
        # Norms take the same time whatever their kind.
        network=lambda code: SPNet(code, norm="BN", **networks._asdict()),
    )
