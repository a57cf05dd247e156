import random
from collections import Counter

import pytest

from detnas import SearchSpace, get_space
from detnas.search.candidate import Candidate
from detnas.search.evolution import Searcher
from detnas.search.surrogate import SurrogateSearcher

#: 256 paths, and 16
SMALL = SearchSpace("small", 4, (8, 16), (2, 2))
SMALLEST = SearchSpace("smallest", 4, (8,), (2,))
LARGE = get_space("300M")


def score(path):
    """Any fixed fitness with many ties."""
    return float(sum(i * op for i, op in enumerate(path, 1)) % 7)


def searcher(space=SMALL, is_legal=lambda path: True, kind=Searcher, **settings):
    return kind(space, is_legal, **{"population": 8, "num_parents": 3, "num_mutate": 4, "num_cross": 3, **settings})


def search(searcher, generations, fails=lambda path: False):
    """History of a whole search."""
    history = []
    for generation in range(generations):
        for path in searcher.lineage(history, generation):
            result = {"error": "it failed"} if fails(path) else {"score": score(path)}
            history.append(Candidate(path, generation=generation, **result))
    return history


@pytest.mark.parametrize("kind", [Searcher, SurrogateSearcher])
def test_a_used_up_space_gives_fewer_paths_and_then_none(kind):
    small = searcher(SMALLEST, kind=kind, population=7, num_mutate=3, num_cross=3)
    assert Counter(c.generation for c in search(small, 5)) == {0: 7, 1: 7, 2: 2}
    assert list(small.lineage(search(small, 3), 3)) == []


@pytest.mark.parametrize("kind", [Searcher, SurrogateSearcher])
def test_a_constraint_that_nothing_new_meets_gives_no_path_in_bounded_time(kind):
    calls = []
    known = [Candidate((0, 0, 0, 0), score=1.0), Candidate((0, 0, 0, 1), score=2.0)]
    for history in ([], known):
        assert searcher(is_legal=lambda path: calls.append(path), kind=kind).lineage(history, bool(history)) == {}
    assert len(calls) < 10**5


@pytest.mark.parametrize("kind", [Searcher, SurrogateSearcher])
@pytest.mark.parametrize("generation", [1, 2, 3])
def test_a_generation_depends_on_earlier_ones_alone_in_any_order(kind, generation):
    history = search(searcher(kind=kind), 4)
    assert len({c.score for c in history}) < len(history)
    earlier = [c for c in history if c.generation < generation]
    expected = [c.network for c in history if c.generation == generation]
    state = random.getstate()
    for finished in range(9):
        seen = earlier + history[len(earlier) :][:finished]
        assert list(searcher(kind=kind).lineage(seen, generation)) == expected
        shuffled = random.Random(finished).sample(seen, len(seen))
        assert list(searcher(kind=kind).lineage(shuffled, generation)) == expected
    assert random.getstate() == state


def test_the_first_generation_is_random_by_the_seed_whatever_children_are_asked_for():
    first = list(searcher(num_mutate=8, num_cross=0).lineage([], 0))
    assert len(first) == 8 and list(searcher(seed=1).lineage([], 0)) != first
    for crossed in (8, 0):
        assert list(searcher(num_mutate=0, num_cross=crossed).lineage([], 0)) == first


INITIAL = ((3, 3, 3, 3), (0, 0, 0, 0))


def test_the_first_generation_begins_with_what_is_known_and_the_rest_is_the_same_random_one():
    known = searcher(initial=INITIAL)
    lineage = known.lineage([], 0)
    assert list(lineage) == [*INITIAL, *list(searcher().lineage([], 0))[:6]] and set(lineage.values()) == {()}
    history = search(known, 4)
    assert len({c.network for c in history}) == len(history) == 32
    assert list(known.lineage(history[:5], 0)) == list(lineage)
    # Of what is known only what is legal and finds a place is taken.
    assert list(searcher(initial=INITIAL, is_legal=lambda path: sum(path) < 12).lineage([], 0))[0] == INITIAL[1]
    assert list(searcher(initial=INITIAL, population=1, num_mutate=0, num_cross=0).lineage([], 0)) == [INITIAL[0]]


def test_a_search_without_generations_begins_with_what_is_known_wherever_it_was_stopped():
    known = searcher(initial=INITIAL)
    assert [known.propose_one([], i, set(INITIAL[:i]).__contains__) for i in range(2)] == [(p, ()) for p in INITIAL]
    # The first one was lost on its way when the search was stopped.
    assert known.propose_one([], 1, {INITIAL[1]}.__contains__) == (INITIAL[0], ())
    done = set(INITIAL).__contains__
    assert known.propose_one([], 2, done) == searcher().propose_one([], 2, done)


def test_the_first_generation_is_uniform_over_the_space():
    paths = list(searcher(get_space("tiny"), population=2000).lineage([], 0))
    counts = Counter((block, op) for path in paths for block, op in enumerate(path))
    assert len(counts) == 32 and all(400 < count < 600 for count in counts.values())


def test_without_children_it_is_random_search():
    history = search(searcher(num_mutate=0, num_cross=0), 3)
    better = [Candidate(c.network, generation=c.generation, score=-c.score) for c in history]
    alone = searcher(num_mutate=0, num_cross=0)
    assert list(alone.lineage(history, 3)) == list(alone.lineage(better, 3))


def best_and_others(space, *best):
    """A first generation in which these paths are the best."""
    others = [space.random(random.Random(i)) for i in range(20)]
    history = [Candidate(path, score=90.0 - i) for i, path in enumerate(best)]
    return history + [Candidate(path, score=1.0) for path in others if path not in best]


def test_children_are_made_by_mutation_then_by_crossover_and_the_rest_is_random():
    tiny = get_space("tiny")
    parents = (0,) * 8, (1,) * 8
    settings = {"num_parents": 2, "num_mutate": 3, "num_cross": 3, "population": 40, "mutate_prob": 0.1}
    paths = list(searcher(tiny, **settings).lineage(best_and_others(tiny, *parents), 1))
    assert len(paths) == 40
    assert all(set(path) <= {0, 1} for path in paths[3:6])
    assert sum(set(path) <= {0, 1} for path in paths[6:]) == 0


@pytest.mark.parametrize("kind", [Searcher, SurrogateSearcher])
def test_failed_candidates_are_no_parents_and_do_not_come_again(kind):
    history = search(searcher(kind=kind), 6, fails=lambda path: path[0] == 1)
    failed = {c.network for c in history if c.error}
    assert failed and len({c.network for c in history}) == len(history)
    assert not failed & {p for parents in searcher(kind=kind).lineage(history, 6).values() for p in parents}
    only_failures = [Candidate((0, 0, 0, i), error="it failed") for i in range(4)]
    # Nor can a single one cross with another.
    for known in (only_failures, [Candidate((0, 1, 2, 3), score=1.0)]):
        paths = set(searcher(kind=kind).lineage(known, 1))
        assert len(paths) == 8 and not paths & {c.network for c in known}


def test_another_order_chooses_other_parents():
    tiny = get_space("tiny")

    def order(candidates, count):
        return sorted(candidates, key=lambda c: (c.score, c.network))[:count]

    worst_first = searcher(tiny, num_parents=2, num_mutate=0, num_cross=8, order=order)
    a, b = (0,) * 8, (3,) * 8
    history = [Candidate(a, score=-2.0), Candidate(b, score=-1.0), *best_and_others(tiny, (1,) * 8, (2,) * 8)]
    assert all(set(path) <= {0, 3} for path in worst_first.lineage(history, 1))


def test_mutation_draws_each_op_anew_with_its_probability():
    rng = random.Random(0)
    path = (0, 1, 2, 3) * 5
    assert LARGE.mutate(path, 0.0, rng) == path
    changed = sum(a != b for _ in range(1000) for a, b in zip(path, LARGE.mutate(path, 0.2, rng)))
    # An op drawn anew is the same one in a quarter of the cases: 0.2 * 3/4 of 20000.
    assert 2800 < changed < 3200
    ops = Counter(op for _ in range(200) for op in LARGE.mutate(path, 1.0, rng))
    assert set(ops) == {0, 1, 2, 3} and all(850 < count < 1150 for count in ops.values())


def test_crossover_takes_each_op_from_either_parent_by_a_fair_coin():
    rng = random.Random(0)
    a, b = (0,) * 20, (1,) * 20
    children = [LARGE.cross(a, b, rng) for _ in range(500)]
    shares = [sum(child[i] for child in children) / len(children) for i in range(20)]
    assert all(0.4 < share < 0.6 for share in shares)
    assert LARGE.cross(a, a, rng) == a
