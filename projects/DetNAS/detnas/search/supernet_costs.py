"""What the paths of a supernet cost, and the limits that a config sets on them."""

import os

from detnas.config.keys import config_space
from detnas.cost.costs import JoinedCosts
from detnas.cost.latency import LatencyMeter
from detnas.cost.limits import DETECTOR_LATENCY, LATENCY, Limits, asked_costs
from detnas.cost.table import CostTable, with_detector
from detnas.errors import UserError
from detnas.export.foretold_latency import foretell_latency


def supernet_costs(cfg, space):
    """
    What the paths of a supernet cost: multiply-adds and parameters of the backbone and, where they can be counted, of
    the detector; latencies where the config asks for them, kept in ``OUTPUT_DIR/latency.json``, so that a search that
    is taken up again decides the same.

    Raises:
        UserError: if a cost that the config asks for cannot be had.
    """
    search, asked = cfg.SEARCH, asked_costs(cfg.SEARCH)
    table = CostTable.measure(space, search.FLOPS_RESOLUTION)
    try:
        table = with_detector(table, cfg, tuple(search.DETECTOR_RESOLUTION))
    except UserError:
        # A meta-architecture of one's own can be searched all the same.
        if asked & {"detector_flops", "detector_params"}:
            raise
    parts = [table]
    if DETECTOR_LATENCY in asked:
        parts.append(foretell_latency(cfg, space))
    if LATENCY in asked:
        size, cache = tuple(search.LATENCY_RESOLUTION), os.path.join(cfg.OUTPUT_DIR, "latency.json")
        parts.append(LatencyMeter(space, size, search.LATENCY_BATCH, cfg.MODEL.DEVICE, cache=cache))
    return JoinedCosts(*parts)


def supernet_limits(cfg):
    """The :class:`detnas.cost.limits.Limits` of a search among the paths of a supernet."""
    space = config_space(cfg)
    return Limits(space, cfg.SEARCH.CONSTRAINTS, supernet_costs(cfg, space), seed=max(cfg.SEED, 0))
