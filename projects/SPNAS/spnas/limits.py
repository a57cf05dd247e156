"""What serial networks cost, and the limits of a search."""

import torch

from detnas.config.constraint import Constraint, format_cost
from detnas.cost.detector import detector_costs
from detnas.cost.limits import LATENCY
from detnas.cost.table import count_flops

from .backbone import SPNet
from .code import SerialCode
from .fit import fit_to_code


class SerialLimits:
    """
    ``limits(code)`` says whether a code meets ``SEARCH.CONSTRAINTS``. Costs are counted on torch's meta device: exact,
    without any arithmetic, and once for each code.

    Args:
        cfg: of the search; ``MODEL.SPNAS.CODE`` is its start network.

    Raises:
        ValueError: if a constraint cannot be read or is on a latency, or the start network breaks it.
    """

    def __init__(self, cfg):
        self.cfg = cfg
        self.constraints = [Constraint.parse(text) for text in cfg.SEARCH.CONSTRAINTS]
        if any(constraint.metric == LATENCY for constraint in self.constraints):
            raise ValueError(f"SEARCH.CONSTRAINTS: no {LATENCY} for SP-NAS yet; limit detector_flops")
        self._costs = {}
        start = SerialCode.parse(cfg.MODEL.SPNAS.CODE)
        for constraint in self.constraints:
            cost = self.costs(start)[constraint.metric]
            if not constraint.allows(cost):
                raise ValueError(
                    f'the start network, MODEL.SPNAS.CODE "{start}", has {format_cost(constraint.metric, cost)} '
                    f"{constraint.metric}, which breaks the limit {constraint}"
                )

    def __call__(self, code):
        return all(constraint.allows(self.costs(code)[constraint.metric]) for constraint in self.constraints)

    def costs(self, code):
        """Multiply-adds and parameters of the backbone and, where they can be counted, of the whole detector."""
        if code not in self._costs:
            self._costs[code] = self._count(code)
        return dict(self._costs[code])

    def _count(self, code):
        cfg, search = self.cfg.clone(), self.cfg.SEARCH
        cfg.defrost()
        cfg.MODEL.SPNAS.CODE = str(code)
        fit_to_code(cfg)
        with torch.device("meta"):
            backbone = SPNet(cfg).eval()
            with count_flops(backbone) as flops:
                backbone(torch.empty(1, 3, *search.FLOPS_RESOLUTION))
        costs = {
            "backbone_flops": sum(flops.values()),
            "backbone_params": sum(p.numel() for p in backbone.parameters()),
        }
        try:
            whole = detector_costs(cfg, tuple(search.DETECTOR_RESOLUTION))["whole"]
        except ValueError:
            # A meta-architecture of one's own can be searched all the same.
            if any(constraint.metric.startswith("detector") for constraint in self.constraints):
                raise
            return costs
        return {**costs, **{f"detector_{metric}": value for metric, value in whole.items()}}
