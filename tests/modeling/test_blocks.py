import pytest
import torch
from torch import nn

from detnas import space
from detnas.modeling.blocks import OPS, SHUFFLES, ShuffleUnit
from detnas.space import BlockSpec

#: The channels, out of 16, that pass a stride-1 block untouched and those that enter its main branch.
HALVES = {
    "even_odd": ([0, 2, 4, 6, 8, 10, 12, 14], [1, 3, 5, 7, 9, 11, 13, 15]),
    "interleave": ([0, 8, 1, 9, 2, 10, 3, 11], [4, 12, 5, 13, 6, 14, 7, 15]),
}
KERNELS = {"shufflenet_3x3": 3, "shufflenet_5x5": 5, "shufflenet_7x7": 7, "xception_3x3": 3, "shufflenet_1x1": 1}


def block(stride, op="shufflenet_3x3", **kwargs):
    """16 to 16 channels at stride 1, 16 to 40 at stride 2."""
    torch.manual_seed(0)
    width = 16 if stride == 1 else 40
    spec = BlockSpec(index=0, stage=1, position=0, in_channels=16, out_channels=width, stride=stride)
    return ShuffleUnit(spec, op, **kwargs)


def describe(branch):
    """Each layer in words: kernel, kind, channels and stride of a conv."""

    def words(layer):
        if not isinstance(layer, nn.Conv2d):
            return {"BatchNorm2d": "BN"}.get(type(layer).__name__, type(layer).__name__)
        (k, k2), (s, s2) = layer.kernel_size, layer.stride
        assert k == k2 and s == s2 and layer.padding == (k // 2, k // 2) and layer.dilation == (1, 1)
        if layer.groups == 1:
            return f"{k}x{k} {layer.in_channels}->{layer.out_channels} /{s}"
        assert layer.groups == layer.in_channels == layer.out_channels
        return f"depthwise {k}x{k} {layer.in_channels} /{s}"

    return [words(layer) for layer in branch]


def test_every_op_that_a_space_may_name_is_built():
    assert tuple(OPS) == space.OPS


def test_the_splits_give_the_channels_of_the_released_networks_at_all_images_and_positions():
    assert SHUFFLES.keys() == HALVES.keys()
    x = torch.rand(2, 16, 3, 5)
    for shuffle, halves in HALVES.items():
        assert all(torch.equal(half, x[:, channels]) for half, channels in zip(SHUFFLES[shuffle](x), halves))


@pytest.mark.parametrize("shuffle", HALVES)
def test_at_stride_1_one_half_passes_and_the_other_enters_the_main_branch(shuffle):
    passing, to_main = HALVES[shuffle]
    unit, x = block(1, shuffle=shuffle).eval(), torch.rand(2, 16, 6, 6)
    y = unit(x)
    assert torch.equal(y[:, :8], x[:, passing])
    assert torch.equal(y[:, 8:], unit.main(x[:, to_main]).relu())


def test_at_stride_2_both_branches_see_all_channels_and_the_projection_comes_first():
    unit, x = block(2).eval(), torch.rand(2, 16, 6, 6)
    assert torch.equal(unit(x), torch.cat([unit.proj(x), unit.main(x).relu()], dim=1))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_does_not_write_into_its_input(stride):
    x = torch.randn(2, 16, 6, 6)
    before = x.clone()
    block(stride)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("op", KERNELS)
@pytest.mark.parametrize("size, halved", [((6, 8), (3, 4)), ((7, 9), (4, 5)), ((1, 1), (1, 1))])
def test_stride_1_keeps_size_and_width_and_stride_2_halves_the_size_rounded_up_and_widens(op, size, halved):
    x = torch.rand(2, 16, *size)
    assert block(1, op).eval()(x).shape == x.shape and block(2, op).eval()(x).shape == (2, 40, *halved)


@pytest.mark.parametrize("k", [3, 5, 7])
def test_layers_of_a_shufflenet_op(k):
    unit, expected = block(1, f"shufflenet_{k}x{k}"), ["1x1 16->20 /1", "BN", "ReLU", f"depthwise {k}x{k} 20 /2", "BN"]
    assert describe(unit.main) == ["1x1 8->8 /1", "BN", "ReLU", f"depthwise {k}x{k} 8 /1", "BN", "1x1 8->8 /1", "BN"]
    assert unit.proj is None
    assert describe(block(2, f"shufflenet_{k}x{k}").main) == [*expected, "1x1 20->24 /1", "BN"]


def test_layers_of_the_xception_op():
    expected = ["depthwise 3x3 8 /1", "BN", "1x1 8->8 /1", "BN"]
    assert describe(block(1, "xception_3x3").main) == (expected + ["ReLU"]) * 2 + expected
    first = ["depthwise 3x3 16 /2", "BN", "1x1 16->20 /1", "BN", "ReLU"]
    second = ["depthwise 3x3 20 /1", "BN", "1x1 20->20 /1", "BN", "ReLU"]
    third = ["depthwise 3x3 20 /1", "BN", "1x1 20->24 /1", "BN"]
    assert describe(block(2, "xception_3x3").main) == first + second + third


@pytest.mark.parametrize("op, k", KERNELS.items())
def test_the_projection_has_the_ops_own_kernel(op, k):
    assert describe(block(2, op).proj) == [f"depthwise {k}x{k} 16 /2", "BN", "1x1 16->16 /1", "BN", "ReLU"]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("op", OPS)
def test_convs_inside_blocks_have_no_bias(op, stride):
    convs = [m for m in block(stride, op).modules() if isinstance(m, nn.Conv2d)]
    assert convs and all(conv.bias is None for conv in convs)


def test_the_main_branch_is_halfway_wide_even_where_widths_are_no_powers_of_two():
    spec = BlockSpec(index=0, stage=1, position=0, in_channels=72, out_channels=172, stride=2)
    unit = ShuffleUnit(spec, "shufflenet_3x3")
    expected = ["1x1 72->86 /1", "BN", "ReLU", "depthwise 3x3 86 /2", "BN", "1x1 86->100 /1", "BN"]
    assert describe(unit.main) == expected
