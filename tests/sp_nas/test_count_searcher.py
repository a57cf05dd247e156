"""How many copies of each stage are tried."""

import collections
import itertools

import pytest

from detnas.search.candidate import Candidate
from spnas import ParallelCode
from spnas.count_searcher import CountSearcher

START = ParallelCode.parse("1-2-1")
#: of a copy of each stage, in relation to the serial network
SHARES = (0.1, 0.3, 0.6)


def added(code):
    return sum(count * share for count, share in zip(code.counts, SHARES))


def searcher(is_legal=lambda code: True, **settings):
    return CountSearcher(START, is_legal, added, **settings)


def candidates(codes, generation):
    return [Candidate(code, generation, 1.0) for code in codes]


def run(searcher, generations):
    history = []
    for generation in range(generations):
        history += candidates(searcher.lineage(history, generation), generation)
    return [c.path for c in history]


def test_the_first_is_the_serial_network_and_no_other_comes_twice():
    found = run(searcher(children=5), 4)
    assert found[0] == START and len(found) == len(set(found)) == 16
    assert all(code.serial == START.serial for code in found)


def test_the_same_seed_gives_the_same_codes_whatever_of_the_generation_is_finished():
    first, second = searcher(children=5, seed=3), searcher(children=5, seed=3)
    history = candidates(run(first, 2), 0)
    expected = first.lineage(history, 2)
    half = [*history, *candidates(list(expected)[:2], 2)]
    assert second.lineage(half, 2) == expected
    assert run(searcher(children=5, seed=4), 3) != run(first, 3)


def test_all_are_proposed_within_the_limits_and_then_no_more():
    found = run(searcher(lambda code: sum(code.counts) <= 2, children=4), 6)
    assert set(found) == {
        ParallelCode(START.serial, counts) for counts in itertools.product(range(4), repeat=3) if sum(counts) <= 2
    }
    assert searcher(lambda code: code == START).lineage(candidates([START], 0), 1) == {}


def test_a_network_is_drawn_half_as_often_for_each_serial_network_that_it_adds():
    first = collections.Counter(
        next(iter(searcher(children=1, seed=seed).lineage(candidates([START], 0), 1))) for seed in range(4000)
    )
    codes = [ParallelCode(START.serial, c) for c in itertools.product(range(4), repeat=3) if any(c)]
    weights = {code: 2 ** -added(code) for code in codes}
    total = sum(weights.values())
    chi_square = sum((first[c] - 4000 * w / total) ** 2 / (4000 * w / total) for c, w in weights.items())
    # 62 degrees of freedom; more than 104 comes once in a thousand times.
    assert chi_square < 104


def test_without_generations_one_comes_after_the_other():
    known = []
    while proposal := searcher(lambda code: sum(code.counts) <= 1).propose_one([], len(known), known.__contains__):
        known.append(proposal[0])
        assert proposal[1] == (() if len(known) == 1 else (START,))
    assert known[0] == START and len(known) == 4


@pytest.mark.parametrize("number, generation", [(0, 0), (1, 1), (4, 1), (5, 2)])
def test_a_proposal_has_a_generation(number, generation):
    assert searcher(children=4).generation_of(number) == generation
    assert (searcher().size(0), searcher(children=7).size(1)) == (1, 7)
