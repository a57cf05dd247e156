"""Which codes are proposed, in each phase."""

import collections
import itertools
import random

import pytest

from detnas.search.candidate import Candidate
from spnas import ParallelCode, SerialCode
from spnas.searcher import CountSearcher, MorphSearcher

START = SerialCode.parse("11-21-21")
MORPHS = {"swap": 0.5, "expand": 0.4, "new_stage": 0.1}
#: with more children than a search takes
DEEP = SerialCode.parse("11111-21111-211111")
SERIAL = ParallelCode.parse("1-2-1")
COPIES = [ParallelCode(SERIAL.serial, counts) for counts in itertools.product(range(4), repeat=3)]


def searcher(start=START, **settings):
    return MorphSearcher(**{"start": start, "is_legal": lambda code: len(code) <= 12, "morphs": MORPHS, **settings})


def stuck_searcher(**settings):
    return searcher(DEEP, is_legal=lambda code: True, stuck=2, children=2, **settings)


def added(code):
    """Of a copy of each stage, in relation to the serial network."""
    return sum(count * share for count, share in zip(code.counts, (0.1, 0.3, 0.6)))


def counts(is_legal=lambda code: True, **settings):
    return CountSearcher(start=SERIAL, is_legal=is_legal, added=added, **settings)


def never_better(code):
    return 10.0 if code == DEEP else 1.0


def score(code):
    """Any function of the code."""
    return random.Random(str(code)).uniform(0, 50)


def run(searcher, generations, score=score):
    history = []
    for generation in range(generations):
        for code, parents in searcher.lineage(history, generation).items():
            costs = {"backbone_flops": sum(map(str(code).count, "12"))}
            history.append(Candidate(code, generation, score(code), costs=costs, parents=parents))
    return history


def test_the_start_network_comes_first_and_then_new_legal_children_of_the_front():
    history = run(searcher(), 8)
    assert history[0].network == START and [c.generation for c in history].count(0) == 1
    assert len({c.network for c in history}) == len(history) == 1 + 7 * 4
    for c in history[1:]:
        earlier = {d.network: d for d in history if d.generation < c.generation}
        (parent,) = c.parents
        assert len(c.network) <= 12 and c.network.doublings == START.doublings
        # No other one was both better and cheaper.
        parent = earlier[parent]
        assert not any(d.score > parent.score and len(d.network) < len(parent.network) for d in earlier.values())


@pytest.mark.parametrize("build", [searcher, counts])
def test_a_generation_is_a_function_of_those_before_it(build):
    history = run(build(), 5)
    expected = [c.network for c in history if c.generation == 4]
    half = [c for c in history if c.generation < 4 or c.network in expected[:2]]
    for known in (half, random.Random(1).sample(history, len(history))):
        assert list(build().lineage(known, 4)) == expected
    assert list(build(seed=1).lineage(history, 4)) != expected


def test_a_log_read_from_text_gives_the_same_children():
    history = run(searcher(), 4)
    read = [Candidate(SerialCode.parse(str(c.network)), c.generation, c.score, costs=c.costs) for c in history]
    again, first = searcher().lineage(read, 4), searcher().lineage(history, 4)
    assert list(again.items()) == list(first.items())
    for ours, theirs in zip(first, again):
        (parent,), (read_parent,) = first[ours], again[theirs]
        # Other ids, but the same blocks.
        assert [id in parent.ids and parent.ids.index(id) for id in ours.ids] == [
            id in read_parent.ids and read_parent.ids.index(id) for id in theirs.ids
        ]


def test_when_all_children_of_the_front_are_known_others_are_parents():
    history = run(searcher(children=8), 4, score=lambda code: 10.0 if code == START else 1.0)
    assert len([c for c in history if c.generation == 3]) == 8
    assert {c.parents for c in history if c.generation == 3} - {(START,)}


def test_without_legal_children_the_search_ends():
    assert searcher(is_legal=lambda code: False).lineage(run(searcher(), 1), 1) == {}
    assert searcher().lineage([Candidate(START, 0, error="no memory")], 1) == {}


def test_a_search_that_is_stuck_is_reignited_and_goes_on_from_the_best():
    stuck = stuck_searcher(reignitions=2)
    history = run(stuck, 8, never_better)
    assert stuck.reignited(history) == {3: DEEP, 5: DEEP}
    for generation in range(8):
        networks = [c.network for c in history if c.generation == generation]
        # What is finished of a generation reignites nothing before it.
        assert list(stuck.lineage([c for c in history if c.generation < generation], generation)) == networks
        if generation in (3, 5):
            assert {c.parents for c in history if c.generation == generation} == {(DEEP,)}
    assert stuck_searcher().reignited(history) == {}


def test_asynchronously_nothing_is_proposed_while_the_start_network_runs():
    plain = searcher()
    assert plain.propose_one([], 0, set().__contains__) == (START, ())
    assert plain.propose_one([], 1, {START}.__contains__) is None
    code, parents = plain.propose_one(run(plain, 1), 1, {START}.__contains__)
    assert parents == (START,) and code != START
    # Without selection it is a sequence of morphs.
    history = run(searcher(select="random", children=1), 8)
    assert [c.parents for c in history] == [(), *((c.network,) for c in history[:-1])]


def test_in_one_line_the_parent_is_the_best_of_the_last_generation():
    history = run(searcher(select="line"), 6)
    for c in history[1:]:
        best = max((d for d in history if d.generation == c.generation - 1), key=lambda d: d.score)
        assert c.parents == (best.network,)


def test_the_best_of_the_morphs_that_were_tried_are_the_children():
    trying = searcher(trials=3, children=2)
    history = run(trying, 1)
    morphs = trying.morphs_to_try(history, 1)
    scores = dict(zip(morphs, (1.0, None, 5.0, 2.0, 7.0, 0.0)))
    trying.tried[1] = scores
    assert len(morphs) == 6 and [scores[code] for code in trying.lineage(history, 1)] == [7.0, 5.0]


@pytest.mark.parametrize("build", [searcher, counts])
def test_the_first_generation_is_one_network(build):
    assert [build().size(generation) for generation in (0, 1, 3)] == [1, 4, 4]
    assert [build().generation_of(number) for number in range(6)] == [0, 1, 1, 1, 1, 2]


def test_all_copies_are_proposed_once_within_the_limits_and_then_no_more():
    legal, known = {code for code in COPIES if sum(code.counts) <= 2}, []
    found = [c.network for c in run(counts(lambda code: sum(code.counts) <= 2), 6)]
    assert found[0] == SERIAL and len(found) == len(legal) and set(found) == legal
    assert counts(lambda code: code == SERIAL).lineage([Candidate(SERIAL, 0, 1.0)], 1) == {}
    # Without generations they come one after the other.
    while proposal := counts(lambda code: sum(code.counts) <= 2).propose_one([], len(known), known.__contains__):
        known.append(proposal[0])
        assert proposal[1] == (() if len(known) == 1 else (SERIAL,))
    assert known[0] == SERIAL and len(known) == len(legal) and set(known) == legal


def test_copies_are_drawn_half_as_often_for_each_serial_network_that_they_add():
    first = collections.Counter(
        next(iter(counts(children=1, seed=seed).lineage([Candidate(SERIAL, 0, 1.0)], 1))) for seed in range(4000)
    )
    weights = {code: 2 ** -added(code) for code in COPIES if any(code.counts)}
    total = sum(weights.values())
    chi_square = sum((first[c] - 4000 * w / total) ** 2 / (4000 * w / total) for c, w in weights.items())
    # 62 degrees of freedom; more than 104 comes once in a thousand times.
    assert chi_square < 104
