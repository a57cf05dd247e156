import random

import numpy as np
import pytest

from detnas import SearchSpace, get_space
from detnas.search.candidate import Candidate
from detnas.search.evolution import Searcher
from detnas.search.gaussian_process import GaussianProcess
from detnas.search.surrogate import SurrogateSearcher

#: 256 paths, and 16
SMALL = SearchSpace("small", 4, (8, 16), (2, 2))
SMALLEST = SearchSpace("smallest", 4, (8,), (2,))
COUNTS = {"population": 8, "num_parents": 3, "num_mutate": 4, "num_cross": 4}


def score(path):
    """Each op counts, and each pair of neighbours that are the same."""
    return float(sum((block + 1) * op for block, op in enumerate(path)) + 5 * sum(map(int.__eq__, path, path[1:])))


def searcher(space=SMALL, is_legal=lambda path: True, **settings):
    return SurrogateSearcher(space, is_legal, surplus=3, **{**COUNTS, **settings})


def search(searcher, generations):
    """History of a whole search."""
    history = []
    for generation in range(generations):
        for path in searcher.lineage(history, generation):
            history.append(Candidate(path, generation=generation, score=score(path)))
    return history


def test_a_regression_interpolates_what_it_knows_and_is_unsure_of_what_it_does_not():
    rng = random.Random(0)
    paths = sorted({SMALL.random(rng) for _ in range(120)})
    known, new = paths[::2], paths[1::2]
    process = GaussianProcess(SMALL, known, list(map(score, known)))
    mean, deviation = process.predict(known)
    assert np.corrcoef(mean, list(map(score, known)))[0, 1] > 0.99
    guess, doubt = process.predict(new)
    assert np.corrcoef(guess, list(map(score, new)))[0, 1] > 0.9
    assert deviation.max() < doubt.min()


@pytest.mark.parametrize("paths, scores", [([(0, 1)], [3.0]), ([(0, 1), (2, 3)], [3.0, 3.0])])
def test_scores_that_tell_nothing_give_a_prediction_all_the_same(paths, scores):
    mean, deviation = GaussianProcess(SMALLEST, paths, scores).predict([(0, 1), (3, 0)])
    assert np.allclose(mean, 3) and deviation[0] < deviation[1]


def test_the_children_that_are_kept_are_better_than_those_of_evolution():
    means = {"surrogate": [], "evolution": []}
    for seed in range(10):
        history = search(searcher(get_space("tiny"), seed=seed), 4)
        kinds = {"surrogate": searcher(get_space("tiny"), seed=seed),
                 "evolution": Searcher(get_space("tiny"), lambda path: True, seed=seed, **COUNTS)}
        for name, kind in kinds.items():
            means[name].append(np.mean([score(path) for path in kind.lineage(history, 4)]))
    assert np.mean(means["surrogate"]) > np.mean(means["evolution"]) + 5


def test_paths_are_new_legal_and_different_and_say_what_they_were_made_from():
    legal = searcher(is_legal=lambda path: sum(path) % 3 > 0)
    history = search(legal, 5)
    assert len({c.network for c in history}) == len(history) == 40 and all(sum(c.network) % 3 for c in history)
    paths = {c.network for c in history}
    lineage = legal.lineage(history, 5)
    assert any(lineage.values()) and all(parent in paths for parents in lineage.values() for parent in parents)


def test_the_first_generation_is_that_of_evolution():
    initial = ((3, 3, 3, 3), (0, 0, 0, 0))
    first = searcher(initial=initial).lineage([], 0)
    assert list(first)[:2] == list(initial)
    assert first == Searcher(SMALL, lambda path: True, initial=initial, **COUNTS).lineage([], 0)


@pytest.mark.parametrize("space, most, found", [(SMALL, 64, 64), (SMALLEST, 64, 16)])
def test_a_search_without_generations_finds_the_best_early_and_ends_with_all_paths(space, most, found):
    known, propose = {}, searcher(space).propose_one
    while len(known) < most and (proposal := propose(list(known.values()), len(known), known.__contains__)):
        known[proposal[0]] = Candidate(proposal[0], score=score(proposal[0]))
    assert len(known) == found and max(map(score, space.all())) == max(map(score, known))
