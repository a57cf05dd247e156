"""The limits of a run as its search sees them, and what networks cost that are not in its log."""

import os

import torch

from detnas.config.constraint import Constraint, format_cost
from detnas.config.load import load_config
from detnas.cost.limits import DETECTOR_LATENCY
from detnas.launch.machine import fit_to_device
from detnas.launch.setup import register_datasets
from detnas.search.settings import supernet_limits


def run_limits(writer, config_file):
    """
    The :class:`detnas.cost.limits.Limits` of a run. The latency of detectors is measured here, with as many threads
    as the steps have, and kept where the search looks for it.

    Args:
        writer: a :class:`find_detector.configs.ConfigWriter`.
        config_file: of any of its networks.

    Raises:
        UserError: if no network of the space meets them.
    """
    cfg = load_config(config_file)
    cfg.SEARCH.CONSTRAINTS, cfg.OUTPUT_DIR = writer.limits, writer.output("search")
    register_datasets(cfg)
    fit_to_device(cfg)

    os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
    torch.set_num_threads(writer.recipe.threads)
    return supernet_limits(cfg)


def plain_network(limits):
    """(name, arch) of the first network of one op that meets the limits, all 3x3 if it does; None if none does."""
    space = limits.space
    return next(([name, space.format(path)] for name, path in space.anchors().items() if limits(path)), None)


def limited_costs(limits, path):
    """{metric: such as "12.3 ms"} of what is limited; the latency of a detector is measured, not predicted."""
    found, (predictor,) = {}, limits.costs.parts_of(DETECTOR_LATENCY) or [None]
    for metric in dict.fromkeys(constraint.metric for constraint in limits.constraints):
        measured = metric == DETECTOR_LATENCY
        found[metric] = format_cost(metric, predictor.meter([path])[0] if measured else limits.costs.cost(metric, path))
    return found


def of_the_detector(limit):
    """A limit of the command line as one of a config, in which ``latency_ms`` is that of the backbone alone."""
    constraint = Constraint.parse(limit)
    return limit.replace("latency_ms", DETECTOR_LATENCY) if constraint.metric == "latency_ms" else limit
