"""Codes of serial and parallel networks."""

import pytest

from spnas.code import ParallelCode, SerialCode


@pytest.mark.parametrize("text", ["11-21-21-21", "111-2111-211111-211", "1112-1112-11111-21-1-11"])
def test_a_code_is_read_and_written_as_the_same_text(text):
    assert str(SerialCode.parse(text)) == text


@pytest.mark.parametrize(
    "text, words",
    [
        ("11--21", "stage 2 is empty"),
        ("11-2x1-21", '"x" in stage 2'),
        ("11-21", "has 2 stages; there may be 3 to 6"),
        ("-".join("1111111"), "has 7 stages"),
        (f"1-1-{'1' * 59}", "has 61 blocks; there may be at most 60"),
    ],
)
def test_what_is_no_code_is_one_sentence(text, words):
    with pytest.raises(ValueError, match=words):
        SerialCode.parse(text)


def test_a_stage_starts_with_stride_2_and_a_2_doubles_the_width():
    blocks = list(SerialCode.parse("111-2111-211111-211").blocks())
    assert [b.width for b in blocks] == [1] * 3 + [2] * 4 + [4] * 6 + [8] * 3
    assert [i for i, b in enumerate(blocks) if b.stride == 2] == [3, 7, 13]


def test_widths_double_wherever_the_2_stands():
    code = SerialCode.parse("1112-1112-11111-21-1-11")
    blocks = list(code.blocks())
    assert (len(code), code.doublings, code.depths) == (18, 3, (4, 4, 5, 2, 1, 2))
    assert [b.width for b in blocks] == [1] * 3 + [2] * 4 + [4] * 6 + [8] * 5
    assert [i for i, b in enumerate(blocks) if b.stride == 2] == [4, 8, 13, 15, 16]


def test_codes_of_the_same_digits_are_equal_whatever_their_ids():
    assert SerialCode(("1", "2", "1"), (7, 8, 9)) == SerialCode.parse("1-2-1")


@pytest.mark.parametrize("ids", [(0, 1), (0, 1, 1), (0, 1, 2, 2), (0, 1, 2, 3)])
def test_ids_are_as_many_as_blocks_and_all_different(ids):
    with pytest.raises(ValueError, match="need as many different ids"):
        SerialCode(("1", "2", "1"), ids)


def test_copies_stand_behind_the_serial_code():
    code = ParallelCode.parse("1-21-1_0-2-3")
    assert (str(code.serial), code.counts, str(code)) == ("1-21-1", (0, 2, 3), "1-21-1_0-2-3")
    assert ParallelCode.parse("1-21-1") == ParallelCode(SerialCode.parse("1-21-1"), (0, 0, 0))
    assert str(ParallelCode.parse("1-21-1_0-0-0")) == "1-21-1"


@pytest.mark.parametrize(
    "text, words",
    [
        ("1-2-1_0-1", 'copies "0-1" are for 2 stages; code "1-2-1" has 3'),
        ("1-2-1_0-1-4", 'copies "0-1-4": each stage has 0 to 3'),
        ("1-2-1_", 'copies "": give a number a stage'),
        ("1-2-1_0-1-x", 'copies "0-1-x": give a number a stage'),
        ("1-2-1_0-1-1_0", 'copies "0-1-1_0": give a number a stage'),
        ("1-2_0-1", 'code "1-2" has 2 stages'),
    ],
)
def test_what_are_no_copies_is_one_sentence(text, words):
    with pytest.raises(ValueError, match=words):
        ParallelCode.parse(text)
