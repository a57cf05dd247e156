"""Several detectors of a search's front, ready to use: a yaml and weights of each, as of the best one."""

import os

from detectron2.utils.file_io import PathManager

from detnas.config.constraint import format_cost

from .winner import write_weights

#: folder of them, in that of the search
FRONT = "front"


def choose_winners(front, costs, count):
    """
    Candidates spread over the costs: the best score first, then always the one whose costs are the farthest from those
    of all taken before, so the second is most often the cheapest.

    Args:
        front: candidates, best score first, as :func:`detnas.search.pareto.front_of` gives them.
        costs: names of costs; each counts by its share of the range on the front.
        count: of candidates; fewer where the front has fewer that differ in a cost.
    """
    points = [[c.costs[name] for name in costs] for c in front]
    ranges = [(min(values), max(values) - min(values)) for values in zip(*points)]
    points = [[(value - low) / (width or 1) for value, (low, width) in zip(point, ranges)] for point in points]
    count = min(count, len(front))
    taken = [0] if count else []
    while len(taken) < count:
        room = [min(_squared_distance(point, points[t]) for t in taken) for point in points]
        # The first one of several: that with the better score.
        farthest = room.index(max(room))
        if not room[farthest]:
            break
        taken.append(farthest)
    return [front[t] for t in taken]


def _squared_distance(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other))


def write_front_winners(log, winners, write_config, state_of):
    """
    Leave ``front/ARCH.yaml`` and ``front/ARCH.pth`` of each beside the log. Files that stand are left alone, those of
    earlier fronts too; a yaml stands only where its weights do.

    Args:
        log: the :class:`detnas.search.log.SearchLog` of a search.
        winners: candidates of it.
        write_config: function (candidate, folder, name) that writes the yaml.
        state_of: candidate's path -> state dict of its detector; called where it is needed.

    Returns:
        list of the yaml files.

    Raises:
        OSError: if one cannot be written.
    """
    folder, files = os.path.join(os.path.dirname(log.path), FRONT), []
    PathManager.mkdirs(folder)
    for candidate in winners:
        name = log.space.format(candidate.path)
        weights, config = (os.path.join(folder, name + ending) for ending in (".pth", ".yaml"))
        if write_weights(log, candidate, weights, state_of) or not PathManager.isfile(config):
            write_config(candidate, folder, name)
        files.append(config)
    return files


def describe_winners(winners, files, metric, costs):
    """Lines for the user about what :func:`write_front_winners` wrote, best score first; none without a file."""
    if files:
        yield "Of the front, spread over the cost, as ready to use as the best (docs/winner.md):"
    for candidate, file in sorted(zip(winners, files), key=lambda pair: -pair[0].score):
        shown = ", ".join(f"{name} {format_cost(name, candidate.costs[name])}" for name in costs)
        yield f"  {file}: {metric} {candidate.score:.2f}, {shown}"
