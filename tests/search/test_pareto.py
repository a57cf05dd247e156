import itertools
import random

import pytest

from detnas.search.candidate import Candidate
from detnas.search.pareto import crowding, fronts, pareto_order


def candidates(seed=0, count=60, levels=12):
    """Candidates with many equal values."""
    rng = random.Random(seed)
    paths = random.Random(1).sample(list(itertools.product(range(4), repeat=4)), count)

    def value():
        return float(rng.randrange(levels))

    return [Candidate(path, score=value(), costs={"a": value(), "b": value()}) for path in paths]


def beats(x, y, costs):
    """Written anew from the definition."""
    pairs = [(x.score, y.score)] + [(-x.costs[name], -y.costs[name]) for name in costs]
    return all(p >= q for p, q in pairs) and any(p > q for p, q in pairs)


@pytest.mark.parametrize("costs", [["a"], ["a", "b"]])
@pytest.mark.parametrize("seed", range(5))
def test_each_front_holds_what_no_other_one_of_those_left_dominates(costs, seed):
    left = candidates(seed)
    for front in fronts(list(left), costs):
        expected = [c for c in left if not any(beats(other, c, costs) for other in left)]
        assert sorted(c.network for c in front) == sorted(c.network for c in expected)
        assert [c.score for c in front] == sorted((c.score for c in front), reverse=True)
        left = [c for c in left if c not in front]
    assert left == []


def test_the_ends_of_a_front_come_first_and_then_those_with_room_around_them():
    points = [(0.0, 10.0), (1.0, 9.0), (2.0, 8.0), (7.0, 2.0), (10.0, 0.0)]
    distance = crowding(points)
    assert distance[0] == distance[4] == float("inf")
    # Gaps between the neighbours as shares of the range of 10.
    assert distance[1:4] == pytest.approx([0.2 + 0.2, 0.6 + 0.7, 0.8 + 0.8])


def test_the_order_does_not_depend_on_that_of_the_history():
    order = pareto_order(["a"])
    expected = order(candidates(), 60)
    for seed in range(10):
        assert order(random.Random(seed).sample(candidates(), 60), 60) == expected
    assert all(order(candidates(), count) == expected[:count] for count in (1, 7, 30, 100))
    first = next(fronts(candidates(), ["a"]))
    assert {c.network for c in expected[: len(first)]} == {c.network for c in first}
    # Without costs it is that of the score.
    scores = [c.score for c in pareto_order([])(candidates(), 10)]
    assert scores == sorted(scores, reverse=True)
