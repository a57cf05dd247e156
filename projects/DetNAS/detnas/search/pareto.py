"""Several objectives: the score, which is to be high, and costs, which are to be low."""

from .candidate import by_score


def fronts(candidates, costs):
    """
    Non-dominated sorting (Deb et al., NSGA-II, 2002) of candidates with a score and the costs: yields lists of those
    that no other one of those left dominates (nowhere worse, somewhere better), best score first.
    """
    left = sorted(((_point(c, costs), c) for c in candidates), key=lambda pair: (pair[0], pair[1].network))
    while left:
        front, rest = [], []
        # In this order, whatever dominates a point comes before it.
        for point, candidate in left:
            dominated = any(other != point and all(a <= b for a, b in zip(other, point)) for other, _ in front)
            (rest if dominated else front).append((point, candidate))
        yield [candidate for _, candidate in front]
        left = rest


def front_of(candidates, costs):
    """The Pareto front of the score and these costs, best score first, of the candidates that have all of them."""
    return next(fronts([c for c in candidates if c.score is not None and set(costs) <= c.costs.keys()], costs), [])


def pareto_order(costs):
    """
    An order of candidates for :class:`detnas.search.evolution.Searcher`: front by front, inside a front those first
    that have most room around them (crowding distance), then by score.
    """

    def order(candidates, count):
        result = []
        for front in fronts(candidates, costs):
            if len(result) >= count:
                break
            room = crowding([_point(c, costs) for c in front])
            ranked = sorted(zip(room, front), key=lambda pair: (-pair[0], *by_score(pair[1])))
            result.extend(candidate for _, candidate in ranked)
        return result[:count]

    return order


def crowding(points):
    """
    Crowding distance of each point of a front: per objective the gap between its two neighbours, as a share of the
    whole range, summed; infinite at the ends.
    """
    distance = [0.0] * len(points)
    for values in zip(*points):
        order = sorted(range(len(points)), key=values.__getitem__)
        low, high = values[order[0]], values[order[-1]]
        distance[order[0]] = distance[order[-1]] = float("inf")
        for before, middle, after in zip(order, order[1:], order[2:]):
            if high > low:
                distance[middle] += (values[after] - values[before]) / (high - low)
    return distance


def _point(candidate, costs):
    return (-candidate.score, *(candidate.costs[name] for name in costs))
