"""What serial and parallel networks cost: counted one by one, since their blocks do not add up."""

import os
from types import SimpleNamespace

from detnas.cost.costs import JoinedCosts
from detnas.cost.counted import CountedCosts
from detnas.cost.latency import LatencyMeter
from detnas.cost.limits import DETECTOR_LATENCY, LATENCY, asked_costs
from detnas.errors import UserError

from .backbone import SPNet


def code_costs(cfg, space):
    """
    The costs of codes; the latency where the config asks for it, kept in ``OUTPUT_DIR/latency.json``, so that a search
    that is taken up again decides the same.
    """
    search, asked = cfg.SEARCH, asked_costs(cfg.SEARCH)
    if DETECTOR_LATENCY in asked:
        raise UserError(f'{DETECTOR_LATENCY}: SEARCH.METHOD "{search.METHOD}" can limit {LATENCY} instead')
    if LATENCY not in asked:
        return CountedCosts(cfg, space)
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
    return JoinedCosts(CountedCosts(cfg, space), meter)
