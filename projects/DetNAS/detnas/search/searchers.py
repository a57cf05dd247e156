"""The searcher that a config asks for."""

from detnas.errors import UserError

from .evolution import Searcher
from .pareto import pareto_order
from .proposals import best_first
from .surrogate import SurrogateSearcher

#: of logs from before there was a choice
DEFAULT = "evolution"
_SEARCHERS = {DEFAULT: Searcher, "surrogate": SurrogateSearcher}


def build_searcher(cfg, limits, initial=None):
    """
    Args:
        cfg: a supernet's config.
        limits: a :class:`detnas.cost.limits.Limits`.
        initial: of :func:`initial_paths`; None: the first generation is random.

    Raises:
        UserError: if an objective is no known cost, the searcher takes none, or the numbers do not fit.
    """
    search, space = cfg.SEARCH, limits.space
    if search.OBJECTIVES and search.SEARCHER != DEFAULT:
        raise UserError(
            f'SEARCH.SEARCHER "{search.SEARCHER}" goes by the score alone; SEARCH.OBJECTIVES '
            f'{list(search.OBJECTIVES)} need "{DEFAULT}"'
        )
    known = limits.costs((0,) * space.num_blocks) if search.OBJECTIVES else {}
    for name in search.OBJECTIVES:
        if name not in known:
            raise UserError(
                f'SEARCH.OBJECTIVES: unknown cost "{name}"; there are: {", ".join(known)} '
                "(latency_ms with a limit on it in SEARCH.CONSTRAINTS)"
            )
    return _SEARCHERS[search.SEARCHER](
        space,
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
