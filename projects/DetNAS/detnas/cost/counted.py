"""What networks cost, counted one by one, where their blocks do not add up."""

from typing import Tuple

from detectron2.config import CfgNode

from detnas.choices import Space
from detnas.config.load import with_settings
from detnas.errors import UserError

from .detector import backbone_costs, detector_costs
from .limits import asked_costs


class CountedCosts:
    """
    The :class:`detnas.cost.costs.Costs` of candidates: multiply-adds and parameters of the backbone and, where they can
    be counted, of the whole detector, on torch's meta device: exact, without any arithmetic, once for each candidate. A
    :class:`UserError` where the detector is limited and they cannot.

    Args:
        cfg: of the search.
        space: of the candidates.
    """

    def __init__(self, cfg: CfgNode, space: Space):
        self.cfg, self.space, self.counted = cfg, space, {}
        self.metrics: Tuple[str, ...] = ("backbone_flops", "backbone_params")
        try:
            detector_costs(cfg, (32, 32))
            self.metrics += "detector_flops", "detector_params"
        except UserError:
            # A meta-architecture of one's own can be searched all the same.
            if asked_costs(cfg.SEARCH) & {"detector_flops", "detector_params"}:
                raise

    def cost(self, metric, candidate):
        if candidate not in self.counted:
            cfg = with_settings(self.cfg, self.space.settings(candidate))
            found = {"backbone": backbone_costs(cfg, tuple(cfg.SEARCH.FLOPS_RESOLUTION))}
            if "detector_flops" in self.metrics:
                found["detector"] = detector_costs(cfg, tuple(cfg.SEARCH.DETECTOR_RESOLUTION))["whole"]
            self.counted[candidate] = {
                f"{of}_{name}": value for of, costs in found.items() for name, value in costs.items()
            }
        return self.counted[candidate][metric]

    def bounds(self, metric):
        return None

    def header(self):
        return {}
