import pytest
import torch

import spnas
from detnas.cost.flops import shapes_alone

R50 = "111-2111-211111-211"
PUBLISHED = "1111-21111-2" + "1" * 24 + "-211-1"


def count(code, **settings):
    """Parameters, and channels of the maps; nothing is computed."""
    with shapes_alone():
        network = spnas.SPNet(code, **settings).eval()
        maps = network(torch.empty(1, 3, 224, 224))
    return sum(p.numel() for p in network.parameters()), [m.shape[1] for m in maps.values()]


@pytest.mark.parametrize("code, block, stem, parameters, channels", [
    ("11-21-21-21", "basic", "7x7", 11_176_512, [64, 128, 256, 512]),
    (R50, "bottleneck", "7x7", 23_508_032, [256, 512, 1024, 2048]),
    (R50, "32x4d", "7x7", 22_979_904, [256, 512, 1024, 2048]),
    (f"111-2111-2{'1' * 22}-211", "bottleneck", "7x7", 42_500_160, [256, 512, 1024, 2048]),
    ("11121111-21111-112-1111-1111", "bottleneck", "3x3", 61_138_208, [512, 1024, 2048, 2048, 2048]),
    (PUBLISHED, "32x4d", "3x3", 53_441_056, [256, 512, 1024, 2048, 2048]),
])
def test_the_networks_of_the_paper_and_of_torchvision_have_their_sizes(code, block, stem, parameters, channels):
    settings = {"block": block, "stem": stem, "shortcut": "projection"}
    assert count(code, **settings) == (parameters, channels)


@pytest.mark.parametrize("code", ["111-211-21", R50, "1112-1112-11111-21-1-11"])
@pytest.mark.parametrize("height, width", [(64, 96), (75, 101)])
def test_the_maps_have_the_strides_and_channels_that_are_said(code, height, width):
    network = spnas.SPNet(code, block="basic", base_width=4).eval()
    maps = network(torch.randn(1, 3, height, width))
    shapes = network.output_shape()
    assert list(maps) == list(shapes) == [f"res{k}" for k in range(2, code.count("-") + 3)]
    for (name, value), stage in zip(maps.items(), range(len(maps))):
        stride = 4 * 2**stage
        assert (shapes[name].stride, shapes[name].channels) == (stride, value.shape[1])
        assert value.shape[2:] == (-(-height // stride), -(-width // stride))


def test_a_block_has_the_same_weights_wherever_a_swap_puts_it():
    def shapes(code):
        return [value.shape for value in spnas.SPNet(code, block="basic", base_width=4).state_dict().values()]

    assert shapes("111-2111-211") == shapes("11-12111-211") == shapes("1112-111-211")


def test_only_the_stages_that_are_asked_for_are_built_and_returned():
    network = spnas.SPNet("11-21-21-21", block="basic", base_width=4, out_features=["res3", "res2"])
    assert list(network(torch.randn(1, 3, 32, 32))) == list(network.output_shape()) == ["res2", "res3"]
    assert not hasattr(network, "res4")


@pytest.mark.parametrize("block, stem", [("basic", "7x7"), ("bottleneck", "3x3"), ("32x4d", "7x7")])
def test_it_is_traced_to_equal_outputs(block, stem):
    network = spnas.SPNet("11-12-21-1", block=block, base_width=16, stem=stem).eval().requires_grad_(False)
    image = torch.randn(1, 3, 64, 64)
    traced = torch.jit.trace(lambda x: tuple(network(x).values()), image)
    assert all(map(torch.equal, traced(image), network(image).values()))


@pytest.mark.parametrize("settings, words", [
    ({"norm": "LN"}, 'norm "LN"; there are: BN,'),
    ({"out_features": ["res6"]}, 'code "1-2-1" has res2, res3, res4'),
    ({"freeze_at": 5}, 'freeze_at 5; code "1-2-1" has 0 to 4'),
    ({"block": "32x4d", "base_width": 8}, 'MODEL.SPNAS.BLOCK "32x4d" has no channels with 8 planes'),
])
def test_settings_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(ValueError, match="(?s).*") as caught:
        spnas.SPNet("1-2-1", **settings)
    assert words in str(caught.value)
