"""The line of descent of a search whose candidates have one parent each: from the start to the winner."""

from detnas.config.constraint import METRICS, format_cost

from .archs import plot_archs


def descent(log):
    """
    The candidates from the one without a parent, child by child, to the best; [] if there is none yet, if several have
    no parent, or if any has several.

    Args:
        log: a :class:`detnas.search.log.SearchLog`.
    """
    history = log.history()
    if not log.best() or sorted(len(c.parents) for c in history) != [0] + [1] * (len(log) - 1):
        return []
    of_path, line = {c.network: c for c in history}, log.best()
    while line[0].parents:
        line.insert(0, of_path[line[0].parents[0]])
    return line


def plot_descent(log, *files):
    """Draw the line of descent, a row for each candidate, with its generation, score and first cost, into files."""
    plot_archs([(_label(c), log.space, c.network) for c in descent(log)], *files)


def _label(candidate):
    costs = [format_cost(*cost) for cost in candidate.costs.items() if cost[0] in METRICS][:1]
    return ", ".join([f"generation {candidate.generation + 1}: {candidate.result}", *costs])
