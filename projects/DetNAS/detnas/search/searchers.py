"""The searcher that a config asks for."""

from detnas.cost.limits import check_costs
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
        limits: a :class:`detnas.cost.limits.Limits` of a :class:`detnas.choices.ChoiceSpace`.
        initial: of :func:`initial_paths`; None: the first generation is random.

    Raises:
        UserError: if an objective is no known cost, the searcher takes none, or the numbers do not fit.
    """
    search = cfg.SEARCH
    if search.OBJECTIVES and search.SEARCHER != DEFAULT:
        raise UserError(
            f'SEARCH.SEARCHER "{search.SEARCHER}" goes by the score alone; SEARCH.OBJECTIVES '
            f'{list(search.OBJECTIVES)} need "{DEFAULT}"'
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
