"""Counts costs of each network as a whole, for networks whose costs are no sums over blocks."""

from detectron2.config import CfgNode

from detnas.choices import Space
from detnas.config.load import with_settings
from detnas.errors import UserError

from .costs import Costs
from .detector import backbone_costs, detector_costs
from .limits import asked_costs


class CountedCosts(Costs):
    """
    :class:`detnas.cost.costs.Costs`: exact multiply-adds and parameters of backbones and, if possible, of detectors.
    Counts each candidate once, on the meta device. Raises UserError if a search needs costs that cannot be counted.
    """

    def __init__(self, cfg: CfgNode, space: Space):
        self.cfg, self.space, self.counted = cfg, space, {}
        self.metrics = ("backbone_flops", "backbone_params")
        try:
            detector_costs(cfg, (32, 32))
            self.metrics += "detector_flops", "detector_params"
        except UserError:  # custom meta-architectures can still be searched
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
