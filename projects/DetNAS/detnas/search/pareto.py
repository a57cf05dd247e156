"""Pareto fronts of the score, which should be high, and costs, which should be low."""

from .candidate import by_score


def fronts(candidates, costs):
    """Yield fronts by non-dominated sorting (Deb et al., NSGA-II, 2002), each with the best score first."""
    left = sorted(((_point(c, costs), c) for c in candidates), key=lambda pair: (pair[0], pair[1].network))
    while left:
        front, rest = [], []
        for point, candidate in left:  # sorted: a point comes after all that dominate it
            dominated = any(other != point and all(a <= b for a, b in zip(other, point)) for other, _ in front)
            (rest if dominated else front).append((point, candidate))
        yield [candidate for _, candidate in front]
        left = rest


def front_of(candidates, costs):
    """The Pareto front of score and costs, best score first, of the candidates that have all of them."""
    return next(fronts([c for c in candidates if c.score is not None and set(costs) <= c.costs.keys()], costs), [])


def pareto_order(costs):
    """An order for ``Searcher``: by front, inside a front by crowding distance (largest first), then by score."""

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
    """Crowding distances of a front's points: neighbours' gap / range, summed over objectives; infinite at ends."""
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
