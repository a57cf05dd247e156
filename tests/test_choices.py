"""Spaces whose places have names and sizes of their own."""

import random
from collections import Counter

import pytest
from three_places import SPACE

from detnas.choices import Choice, ChoiceSpace
from detnas.errors import UserError
from detnas.search.gaussian_process import GaussianProcess
from detnas.training.sampling import FairSampler


def test_a_space_holds_every_combination_once():
    everything = list(SPACE.all())
    assert len(everything) == len(set(everything)) == SPACE.size == 30
    assert all(SPACE.parse(SPACE.format(candidate)) == candidate for candidate in everything)
    assert SPACE.values((1, 0, 2)) == {"size": 320, "depth": 2, "op": "c"}


@pytest.mark.parametrize("text, words", [
    ("0-0", '2 places; space "places" has 3'),
    ("0-2-0", '2 at depth of space "places", which can be 0 2, 1 3'),
    ("0-x-0", "numbers with - between them are expected"),
])
def test_what_is_no_candidate_is_refused_in_one_sentence(text, words):
    with pytest.raises(UserError, match=words):
        SPACE.parse(text)


def test_draws_mutants_and_children_stay_within_each_place():
    rng = random.Random(0)
    drawn = [SPACE.random(rng) for _ in range(300)]
    drawn += [SPACE.mutate(a, 0.5, rng) for a in drawn] + [SPACE.cross(a, b, rng) for a, b in zip(drawn, drawn[1:])]
    assert [len(Counter(values)) for values in zip(*map(SPACE.check, drawn))] == [5, 2, 3]


def test_neighbours_differ_in_one_place_and_in_an_ordered_one_by_one_value():
    found = set(SPACE.neighbours((2, 0, 0), random.Random(0)))
    assert found == {(1, 0, 0), (3, 0, 0), (2, 1, 0), (2, 0, 1), (2, 0, 2)}
    assert set(SPACE.neighbours((0, 0, 0), random.Random(0))) == {(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 2)}


def test_a_regression_takes_near_values_of_an_ordered_place_for_alike():
    process = GaussianProcess(SPACE, [(0, 0, 0), (4, 0, 0)], [0.0, 1.0])
    mean, _ = process.predict([(1, 0, 0), (3, 0, 0)])
    assert mean[0] < 0.5 < mean[1]


def test_fair_passes_train_each_value_as_often_as_the_size_of_its_place_allows():
    sampler = FairSampler(SPACE, seed=0)
    passes = [sampler(iteration) for iteration in range(5)]
    sizes, depths, ops = map(Counter, zip(*passes))
    assert set(sizes.values()) == {1} and set(depths.values()) == {2, 3} and set(ops.values()) == {1, 2}


def test_a_drawing_shows_values_and_indices_of_long_ones():
    space = ChoiceSpace("long", (Choice("size", (64, 96)), Choice("name", ("a", "abcdef"))))
    assert [text for text, *_ in space.drawing((1, 1))[0][0]] == ["96", "1"]
    assert [fill for _, fill, *_ in space.drawing((0, 1))[0][0]] == ["0.95", "0.25"]
