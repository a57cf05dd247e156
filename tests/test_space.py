import random

import pytest

from detnas import SPACES, get_space
from detnas.errors import UserError
from detnas.space import BlockSpec, SearchSpace

PATH = (2, 1, 2, 0, 2, 1, 1, 2, 3, 3, 1, 3, 0, 0, 3, 1, 3, 1, 3, 2)
ARCH = "2120-2112-33130031-3132"


def test_a_path_is_formatted_with_one_group_of_digits_a_stage():
    assert get_space("300M").format(PATH) == ARCH


@pytest.mark.parametrize(
    "arch", [ARCH, "21202112331300313132", "2120 2112 33130031 3132", "2-120211233130031313-2"]
)
def test_separators_are_optional(arch):
    assert get_space("300M").parse(arch) == PATH


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_parse_undoes_format(space):
    path = space.random(random.Random(5))
    assert space.parse(space.format(path)) == path


def test_the_first_block_of_each_stage_changes_width_and_has_stride_2():
    blocks = list(get_space("300M").blocks())
    assert len(blocks) == get_space("300M").num_blocks == 20
    assert blocks[0] == BlockSpec(index=0, stage=1, position=0, in_channels=16, out_channels=64, stride=2)
    assert blocks[1] == BlockSpec(index=1, stage=1, position=1, in_channels=64, out_channels=64, stride=1)
    assert blocks[8] == BlockSpec(index=8, stage=3, position=0, in_channels=160, out_channels=320, stride=2)
    assert blocks[19] == BlockSpec(index=19, stage=4, position=3, in_channels=640, out_channels=640, stride=1)
    assert [b.index for b in blocks if b.stride == 2] == [0, 4, 8, 16]


def test_a_path_of_the_wrong_length_is_refused_with_the_right_one():
    for refuse, path in ((get_space("300M").parse, "2120"), (get_space("300M").format, PATH[:4])):
        with pytest.raises(ValueError) as e:
            refuse(path)
        assert str(e.value) == '4 blocks; space "300M" has 20 (4-4-8-4)'


@pytest.mark.parametrize("op", [4, 9, -1])
def test_an_op_out_of_range_is_refused_with_its_place_and_the_choices(op):
    with pytest.raises(ValueError) as e:
        get_space("tiny").check((0, 0, 0, op, 0, 0, 0, 0))
    choices = "0 shufflenet_3x3, 1 shufflenet_5x5, 2 shufflenet_7x7, 3 xception_3x3"
    assert str(e.value) == f'{op} at stage2.1 of space "tiny", which can be {choices}'


@pytest.mark.parametrize("arch", ["", "----", "supernet", "00-00-00-0x", "٠٠٠٠٠٠٠٠", "0.0-00-00-00"])
def test_what_is_no_string_of_digits_is_refused_with_an_example(arch):
    with pytest.raises(ValueError) as e:
        get_space("tiny").parse(arch)
    assert str(e.value) == 'not an arch: expected digits such as 00-00-00-00 for space "tiny"'


def test_an_unknown_space_is_refused_with_the_known_ones():
    with pytest.raises(UserError) as e:
        get_space("400M")
    assert e.value.args[0] == 'unknown space "400M"; there are: 300M, 1.3G, 3.8G, 1.3G-wide, 3.8G-wide, tiny'


def test_random_paths_repeat_with_the_generators_seed_alone():
    space = get_space("300M")
    random.seed(1)
    before = random.getstate()
    paths = [space.random(random.Random(seed)) for seed in (0, 0, 1)]
    assert paths[0] == paths[1] != paths[2] and random.getstate() == before


def test_the_networks_of_a_single_op_are_named_by_it():
    paths = get_space("tiny").anchors()
    assert list(paths) == ["all 3x3", "all 5x5", "all 7x7", "all Xception 3x3"]
    assert list(paths.values()) == [(op,) * 8 for op in range(4)]
    own = SearchSpace("custom", 16, (64,), (2,), ops=("xception_3x3", "shufflenet_5x5"))
    assert own.anchors() == {"all Xception 3x3": (0, 0), "all 5x5": (1, 1)}
