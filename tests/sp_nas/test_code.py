"""Codes of serial and parallel networks, and their morphs."""

import random

import pytest

from spnas.code import MAX_BLOCKS, ParallelCode, SerialCode
from spnas.morphs import expand, mutate, new_stage, swap

CODE = SerialCode.parse("11-21-21-21")
WEIGHTS = {"swap": 1, "swap_doubling": 1, "expand": 1, "new_stage": 1}


@pytest.mark.parametrize("text", ["11-21-21-21", "111-2111-211111-211", "1112-1112-11111-21-1-11"])
def test_a_code_is_read_and_written_as_the_same_text_whatever_its_ids(text):
    code = SerialCode.parse(text)
    assert str(code) == text and SerialCode(tuple(text.split("-")), tuple(range(7, 7 + len(code)))) == code


@pytest.mark.parametrize("text, words", [
    ("11--21", "stage 2 is empty"),
    ("11-2x1-21", '"x" in stage 2'),
    ("11-21", "has 2 stages; there may be 3 to 6"),
    ("-".join("1111111"), "has 7 stages"),
    (f"1-1-{'1' * 59}", "has 61 blocks; there may be at most 60"),
    ("1-2-1_0-1", 'copies "0-1" are for 2 stages; code "1-2-1" has 3'),
    ("1-2-1_0-1-4", 'copies "0-1-4": each stage has 0 to 3'),
    ("1-2-1_", 'copies "": give a number a stage'),
    ("1-2-1_0-1-x", 'copies "0-1-x": give a number a stage'),
    ("1-2-1_0-1-1_0", 'copies "0-1-1_0": give a number a stage'),
    ("1-2_0-1", 'code "1-2" has 2 stages'),
])
def test_what_is_no_code_and_no_copies_is_one_sentence(text, words):
    for kind in (ParallelCode, SerialCode)[: 1 if "_" in text else 2]:
        with pytest.raises(ValueError, match=words):
            kind.parse(text)


def test_a_stage_starts_with_stride_2_and_widths_double_wherever_the_2_stands():
    code = SerialCode.parse("1112-1112-11111-21-1-11")
    blocks = list(code.blocks())
    assert (len(code), code.doublings, code.depths) == (18, 3, (4, 4, 5, 2, 1, 2))
    assert [b.width for b in blocks] == [1] * 3 + [2] * 4 + [4] * 6 + [8] * 5
    assert [i for i, b in enumerate(blocks) if b.stride == 2] == [4, 8, 13, 15, 16]


def test_copies_stand_behind_the_serial_code():
    code = ParallelCode.parse("1-21-1_0-2-3")
    assert (str(code.serial), code.counts, str(code)) == ("1-21-1", (0, 2, 3), "1-21-1_0-2-3")
    assert ParallelCode.parse("1-21-1") == ParallelCode(SerialCode.parse("1-21-1"), (0, 0, 0))
    assert str(ParallelCode.parse("1-21-1_0-0-0")) == "1-21-1"


def test_a_swap_there_and_back_is_the_same_network():
    child = swap(CODE, 0, 1)
    assert str(child) == "112-1-21-21" and child.ids == CODE.ids
    assert [b.width for b in child.blocks()] == [b.width for b in CODE.blocks()]
    assert swap(child, 0, -1) == CODE


def test_expand_and_a_new_stage_keep_the_ids_and_give_new_ones():
    assert expand(CODE, 1, 1).ids == (0, 1, 2, 8, 3, 4, 5, 6, 7)
    assert str(expand(CODE, 1, 1)) == "11-211-21-21"
    assert str(new_stage(CODE)) == "11-21-21-21-1" and new_stage(CODE).ids == tuple(range(9))


def test_a_long_tree_of_mutations_is_legal_and_never_changes_the_doublings():
    rng, codes = random.Random(0), [CODE]
    for _ in range(3000):
        child = mutate(rng.choice(codes[-200:]), WEIGHTS, rng)
        assert SerialCode.parse(str(child)) == child and child.doublings == 3 and len(child) <= MAX_BLOCKS
        codes.append(child)


def test_the_same_seed_gives_the_same_children_in_whichever_order_the_weights_stand():
    turned = dict(reversed(WEIGHTS.items()))
    assert all(mutate(CODE, WEIGHTS, random.Random(i)) == mutate(CODE, turned, random.Random(i)) for i in range(20))


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_morph_is_reached(name):
    assert mutate(CODE, {name: 1}, random.Random(0)) not in (None, CODE)
