"""What serial and parallel networks cost: counted one by one, since their blocks do not add up."""

import os
from types import SimpleNamespace

from detnas.cost.costs import JoinedCosts
from detnas.cost.detector import backbone_costs, detector_costs
from detnas.cost.latency import LatencyMeter
from detnas.cost.limits import DETECTOR_LATENCY, LATENCY, asked_costs
from detnas.errors import UserError

from .backbone import SPNet
from .fit import with_code


class CountedCosts:
    """
    The :class:`detnas.cost.costs.Costs` of codes: multiply-adds and parameters of the backbone and, where they can be
    counted, of the whole detector, on torch's meta device: exact, without any arithmetic, once for each code. A
    :class:`UserError` where the detector is limited and they cannot.
    """

    def __init__(self, cfg):
        self.cfg, self.counted = cfg, {}
        self.metrics = "backbone_flops", "backbone_params"
        try:
            detector_costs(cfg, (32, 32))
            self.metrics += "detector_flops", "detector_params"
        except UserError:
            # A meta-architecture of one's own can be searched all the same.
            if asked_costs(cfg.SEARCH) & {"detector_flops", "detector_params"}:
                raise

    def cost(self, metric, code):
        if code not in self.counted:
            cfg, search = with_code(self.cfg, code), self.cfg.SEARCH
            found = {"backbone": backbone_costs(cfg, tuple(search.FLOPS_RESOLUTION))}
            if "detector_flops" in self.metrics:
                found["detector"] = detector_costs(cfg, tuple(search.DETECTOR_RESOLUTION))["whole"]
            self.counted[code] = {f"{of}_{name}": value for of, costs in found.items() for name, value in costs.items()}
        return self.counted[code][metric]

    def bounds(self, metric):
        return None

    def header(self):
        return {}


def code_costs(cfg):
    """
    The costs of codes; the latency where the config asks for it, kept in ``OUTPUT_DIR/latency.json``, so that a search
    that is taken up again decides the same.
    """
    search, asked = cfg.SEARCH, asked_costs(cfg.SEARCH)
    if DETECTOR_LATENCY in asked:
        raise UserError(f'{DETECTOR_LATENCY}: SEARCH.METHOD "{search.METHOD}" can limit {LATENCY} instead')
    if LATENCY not in asked:
        return CountedCosts(cfg)
    # What the time of a code depends on beside the code.
    settings = {key: cfg.MODEL.SPNAS[key.upper()] for key in ("block", "base_width", "stem", "shortcut")}
    meter = LatencyMeter(
        SimpleNamespace(**settings, format=str),
        tuple(search.LATENCY_RESOLUTION),
        search.LATENCY_BATCH,
        cfg.MODEL.DEVICE,
        cache=os.path.join(cfg.OUTPUT_DIR, "latency.json"),
        # Norms take the same time whatever their kind.
        network=lambda code: SPNet(code, norm="BN", **settings),
    )
    return JoinedCosts(CountedCosts(cfg), meter)
