"""Reads from a config what a search among a supernet's paths needs: costs, limits, first paths, searcher."""

import logging
import os

from detnas.config.load import candidate_space
from detnas.cost.costs import JoinedCosts
from detnas.cost.latency import LatencyMeter
from detnas.cost.limits import DETECTOR_LATENCY, LATENCY, Limits, asked_costs, check_costs
from detnas.cost.table import CostTable, with_detector
from detnas.data.standard import TEST_SETS
from detnas.errors import UserError
from detnas.evaluation.evaluators import LOWER_IS_BETTER, reported_metrics
from detnas.export.latency_predictor import build_latency_predictor
from detnas.launch.outputs import read_arch

from .evolution import Searcher
from .pareto import pareto_order
from .proposals import best_first
from .racing import build_race
from .surrogate import SurrogateSearcher

logger = logging.getLogger(__name__)

#: word in SEARCH.INITIAL for all networks that a space names
ANCHORS = "uniform_ops"
_SEARCHERS = {"evolution": Searcher, "surrogate": SurrogateSearcher}


def read_settings(cfg, costs=None):
    """Limits, first paths and searcher of a config; UserError if a setting is wrong."""
    check_metric(cfg)
    build_race(cfg)
    limits = supernet_limits(cfg, costs)
    initial = initial_paths(cfg, limits)
    return limits, initial, build_searcher(cfg, limits, initial)


def check_metric(cfg):
    """UserError if the held-out set does not report ``SEARCH.METRIC``; a warning if it is a test set."""
    for name in cfg.DATASETS.TEST:
        reported = [f"{'-' * metric.startswith(LOWER_IS_BETTER)}{metric}" for metric in reported_metrics(name)]
        if cfg.SEARCH.METRIC not in reported:
            there = ", ".join(metric for metric in reported if "/AP-" not in metric)
            raise UserError(f'SEARCH.METRIC "{cfg.SEARCH.METRIC}" is not reported for {name}; there are: {there}')
        if name in TEST_SETS:
            logger.warning(
                f"This search chooses networks by {name}, whose figures are then worth nothing: search on training "
                "images that are held out, such as holdout:1000:NAME, and train on rest:1000:NAME"
            )


def initial_paths(cfg, limits):
    """
    {name: path} of the first generation's first paths, from ``SEARCH.INITIAL``; no path twice, an arch is its own name.
    Paths that break a limit or exceed ``SEARCH.POPULATION`` are left out and logged. UserError for what is no arch.
    """
    space, found = limits.space, {}
    for word in cfg.SEARCH.INITIAL:
        if not isinstance(word, str):
            raise UserError(f'SEARCH.INITIAL {word} is no text: put quotes around an arch, also with "-" in it')
        named = space.anchors() if word == ANCHORS else {word: read_arch(word, space, "SEARCH.INITIAL")}
        found.update({name: path for name, path in named.items() if path not in found.values()})
    legal = {name: path for name, path in found.items() if limits(path)}
    if len(legal) < len(found):
        names = ", ".join(name for name in found if name not in legal)
        logger.info(f"SEARCH.INITIAL: not within the limits, and left out: {names}")
    names = list(legal)
    taken, rest = names[: cfg.SEARCH.POPULATION], names[cfg.SEARCH.POPULATION :]
    if rest:
        logger.info(f"SEARCH.INITIAL: no place among SEARCH.POPULATION {len(taken)}, and left out: {', '.join(rest)}")
    return {name: legal[name] for name in taken}


def supernet_costs(cfg, space):
    """
    Costs of a supernet's paths: multiply-adds and parameters of the backbone and, if they can be counted, the detector;
    latencies if asked for. ``OUTPUT_DIR/latency.json`` keeps them, so that a continued search decides the same.
    """
    search, asked = cfg.SEARCH, asked_costs(cfg.SEARCH)
    table = CostTable.measure(space, search.FLOPS_RESOLUTION)
    try:
        table = with_detector(table, cfg, tuple(search.DETECTOR_RESOLUTION))
    except UserError:  # a custom meta-architecture can be searched without these costs
        if asked & {"detector_flops", "detector_params"}:
            raise
    parts = [table]
    if DETECTOR_LATENCY in asked:
        parts.append(build_latency_predictor(cfg, space))
    if LATENCY in asked:
        size, cache = tuple(search.LATENCY_RESOLUTION), os.path.join(cfg.OUTPUT_DIR, "latency.json")
        parts.append(LatencyMeter(space, size, search.LATENCY_BATCH, cfg.MODEL.DEVICE, cache=cache))
    return JoinedCosts(*parts)


def supernet_limits(cfg, costs=None):
    """The :class:`detnas.cost.limits.Limits` of a supernet's paths; ``costs`` replaces :func:`supernet_costs`."""
    space = candidate_space(cfg)
    return Limits(space, cfg.SEARCH.CONSTRAINTS, (costs or supernet_costs)(cfg, space), seed=max(cfg.SEED, 0))


def build_searcher(cfg, limits, initial=None):
    """
    The searcher of a supernet's config, in the :class:`detnas.choices.ChoiceSpace` of ``limits``. Without ``initial``
    (see :func:`initial_paths`) the first generation is random. UserError if it cannot follow ``SEARCH.OBJECTIVES``.
    """
    search = cfg.SEARCH
    if search.OBJECTIVES and search.SEARCHER == "surrogate":
        raise UserError(
            f'SEARCH.SEARCHER "{search.SEARCHER}" goes by the score alone; SEARCH.OBJECTIVES '
            f'{list(search.OBJECTIVES)} need "evolution"'
        )
    check_costs(search.OBJECTIVES, limits.costs, "SEARCH.OBJECTIVES")
    return _SEARCHERS[search.SEARCHER](
        limits.space,
        limits,
        population=search.POPULATION,
        num_parents=search.NUM_PARENTS,
        num_mutate=search.NUM_MUTATE,
        num_cross=search.NUM_CROSS,
        mutate_prob=search.MUTATE_PROB,
        seed=max(cfg.SEED, 0),
        initial=tuple((initial or {}).values()),
        order=pareto_order(search.OBJECTIVES) if search.OBJECTIVES else best_first,
        repair=limits.repair,
    )
