"""The searchers on fitness functions that need no network."""

import random
import statistics

import pytest

from detnas import CostTable, get_space
from detnas.search.candidate import Candidate
from detnas.search.evolution import Searcher
from detnas.search.pareto import fronts, pareto_order

SPACE = get_space("300M")
TARGET = SPACE.random(random.Random("target"))


def smooth(path):
    return float(sum(a == b for a, b in zip(path, TARGET)))


def noisy(path):
    return smooth(path) + random.Random(repr(path)).gauss(0, 2)


def constant(path):
    return 1.0


def deceptive(path):
    """Better the farther from the target, but best at it."""
    return 40.0 if path == TARGET else 20.0 - smooth(path)


def search(fitness, seed=0, generations=20, is_legal=lambda path: True, cost=None, **settings):
    searcher, history = Searcher(SPACE, is_legal, seed=seed, **settings), []
    for generation in range(generations):
        for path in searcher.lineage(history, generation):
            costs = {"backbone_flops": cost(path)} if cost else {}
            history.append(Candidate(path, generation=generation, score=fitness(path), costs=costs))
    return history


@pytest.mark.parametrize("fitness", [smooth, noisy, constant, deceptive])
def test_twenty_generations_of_fifty_end_with_a_thousand_different_legal_paths(fitness):
    table, asked = CostTable.measure(SPACE), []

    def is_legal(path):
        asked.append(path)
        # 2% of random paths have so few multiply-adds.
        return table.flops(path) <= 270e6

    history = search(fitness, is_legal=is_legal)
    assert len(asked) < 100_000
    assert len(history) == len({c.network for c in history}) == 1000
    assert all(is_legal(c.network) for c in history)


@pytest.mark.parametrize("fitness, seeds, margin", [(smooth, 6, 4), (noisy, 3, 0)])
def test_evolution_beats_random_search_with_the_same_budget(fitness, seeds, margin):
    means = []
    for settings in ({}, {"num_mutate": 0, "num_cross": 0}):
        histories = [search(fitness, seed, **settings) for seed in range(seeds)]
        assert {len(history) for history in histories} == {1000}
        means.append(statistics.mean(max(c.score for c in history) for history in histories))
    print(f"best of 1000, mean over {seeds} seeds: evolution {means[0]:.2f}, random {means[1]:.2f}")
    assert means[0] > means[1] + margin


def test_paths_too_rare_to_be_drawn_are_repaired():
    table = CostTable.measure(SPACE)
    low, _ = table.bounds("backbone_flops")

    def repair(path, rng):
        path = list(path)
        for block, costs in enumerate(table.table["backbone_flops"]):
            if rng.random() < 0.97:
                path[block] = costs.index(min(costs))
        return tuple(path)

    def is_legal(path):
        return table.flops(path) <= 1.01 * low

    assert len(search(smooth, generations=1, is_legal=is_legal)) == 0
    assert len(search(smooth, generations=1, is_legal=is_legal, repair=repair)) == 50


def test_parents_from_the_front_find_good_and_cheap_paths():
    cheapest = []
    for order in ({"order": pareto_order(["backbone_flops"])}, {}):
        history = search(smooth, generations=10, cost=CostTable.measure(SPACE).flops, **order)
        cheapest.append(min(c.costs["backbone_flops"] for c in next(fronts(history, ["backbone_flops"]))))
    assert cheapest[0] < cheapest[1]


def test_a_lineage_names_the_paths_that_a_child_was_made_from():
    history = search(smooth, generations=3)
    searcher = Searcher(SPACE, lambda path: True)
    assert set(searcher.lineage([], 0).values()) == {()}
    parents = {c.network for c in sorted(history, key=lambda c: (-c.score, c.network))[:10]}
    lineage = searcher.lineage(history, 3)
    assert [len(made_from) for made_from in lineage.values()] == [1] * 25 + [2] * 25
    assert all(set(made_from) <= parents for made_from in lineage.values())
    for child, made_from in lineage.items():
        if len(made_from) == 2:
            assert all(op in (a, b) for op, a, b in zip(child, *made_from))
