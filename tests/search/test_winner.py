from detnas.search.candidate import Candidate
from detnas.search.winner import choose_winners


def front(*costs, fall=1):
    """Candidates with falling scores and these costs."""
    return [Candidate((n,), score=100.0 - fall * n, costs={"a": cost, "b": 0.0}) for n, cost in enumerate(costs)]


def chosen(candidates, count, costs=("a",)):
    return [c.costs["a"] for c in choose_winners(candidates, costs, count)]


def test_winners_are_the_best_a_cheaper_one_that_is_nearly_as_good_and_others_spread_over_the_cost():
    candidates = front(100, 98, 95, 60, 52, 20, 10)
    assert chosen(candidates, 1) == [100]
    # 95 has two points less, and is nearly five times 20.
    assert chosen(candidates, 4) == [100, 95, 10, 20]
    assert chosen(front(100, 95, 10, fall=2.1), 2) == [100, 10]
    assert sorted(chosen(candidates, 50)) == sorted([100, 98, 95, 60, 52, 20, 10])


def test_what_costs_the_same_is_taken_once_and_no_front_and_no_number_give_none():
    assert chosen(front(30, 20, 20, 10), 4) == [30, 20, 10]
    assert chosen(front(30), 3) == [30]
    assert chosen([], 3) == chosen(front(3, 2), 0) == []


def test_costs_of_any_size_count_alike():
    rows = [(1.0, 1e9), (0.0, 1e9), (1.0, 0.0), (0.4, 0.6e9)]
    candidates = [Candidate((n,), score=-float(n), costs=dict(zip("ab", row))) for n, row in enumerate(rows)]
    assert [c.network for c in choose_winners(candidates, ["a", "b"], 3)] == [(0,), (1,), (2,)]
