"""Morphs of serial networks."""

import random

import pytest

from spnas.code import MAX_BLOCKS, SerialCode
from spnas.morphs import expand, mutate, new_stage, swap, swap_doubling

CODE = SerialCode.parse("11-21-21-21")
WEIGHTS = {"swap": 1, "swap_doubling": 1, "expand": 1, "new_stage": 1}


def test_a_swap_there_and_back_is_the_same_network():
    child = swap(CODE, 0, 1)
    assert str(child) == "112-1-21-21" and child.ids == CODE.ids
    assert [b.width for b in child.blocks()] == [b.width for b in CODE.blocks()]
    assert swap(child, 0, -1) == CODE


def test_expand_and_a_new_stage_keep_the_ids_and_give_new_ones():
    assert expand(CODE, 1, 1, 2).ids == (0, 1, 2, 8, 9, 3, 4, 5, 6, 7)
    assert str(expand(CODE, 1, 1, 2)) == "11-2111-21-21"
    assert str(new_stage(CODE)) == "11-21-21-21-1" and new_stage(CODE).ids == tuple(range(9))


@pytest.mark.parametrize(
    "morph, place",
    [
        (swap, (0, 2)),
        (swap, (0, -2)),
        (swap, (3, 1)),
        (swap, (-1, 1)),
        (swap_doubling, (0, 1)),
        (swap_doubling, (2, 2)),
        (swap_doubling, (-2, 1)),
        (expand, (0, 0)),
        (expand, (0, 3)),
        (expand, (4, 1)),
        (expand, (0, 1, 53)),
    ],
)
def test_a_morph_that_finds_no_place_is_refused(morph, place):
    with pytest.raises(ValueError, match='code "'):
        morph(CODE, *place)


def test_a_long_tree_of_mutations_is_legal_and_never_changes_the_doublings():
    rng, codes = random.Random(0), [CODE]
    for _ in range(10_000):
        child = mutate(rng.choice(codes[-200:]), WEIGHTS, rng)
        assert SerialCode.parse(str(child)) == child and child.doublings == 3 and len(child) <= MAX_BLOCKS
        codes.append(child)


def test_the_same_seed_gives_the_same_children():
    first, second = ([mutate(CODE, WEIGHTS, rng) for _ in range(50)] for rng in (random.Random(1), random.Random(1)))
    assert first == second


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_morph_is_reached(name):
    assert mutate(CODE, {name: 1}, random.Random(0)) not in (None, CODE)


def test_an_unknown_morph_is_one_sentence():
    with pytest.raises(ValueError, match='unknown morph "swop"; there are: swap, swap_doubling, expand, new_stage'):
        mutate(CODE, {"swop": 1}, random.Random(0))


def test_the_order_of_the_weights_does_not_matter():
    turned = dict(reversed(WEIGHTS.items()))
    assert all(mutate(CODE, WEIGHTS, random.Random(i)) == mutate(CODE, turned, random.Random(i)) for i in range(20))
