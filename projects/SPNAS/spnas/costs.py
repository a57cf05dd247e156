"""Costs of serial and parallel networks. Each network is counted as a whole: costs of its blocks do not add up."""

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
    Costs of codes, with the latency if the config asks for it. Times are kept in ``OUTPUT_DIR/latency.json``, so that a
    resumed search decides the same. UserError if the config asks for the latency of the whole detector.
    """
    search, asked = cfg.SEARCH, asked_costs(cfg.SEARCH)
    if DETECTOR_LATENCY in asked:
        raise UserError(f'{DETECTOR_LATENCY}: SEARCH.METHOD "{search.METHOD}" can limit {LATENCY} instead')
    if LATENCY not in asked:
        return CountedCosts(cfg, space)
    # The latency of a code also depends on these.
    settings = {key: cfg.MODEL.SPNAS[key.upper()] for key in ("block", "base_width", "stem", "shortcut")}
    meter = LatencyMeter(
        SimpleNamespace(**settings, format=str),
        tuple(search.LATENCY_RESOLUTION),
        search.LATENCY_BATCH,
        cfg.MODEL.DEVICE,
        cache=os.path.join(cfg.OUTPUT_DIR, "latency.json"),
        # All kinds of norms take the same time.
        network=lambda code: SPNet(code, norm="BN", **settings),
    )
    return JoinedCosts(CountedCosts(cfg, space), meter)
