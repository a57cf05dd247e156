import random
import re

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone
from torch import nn
from toy_runs import bare_config

from detnas import DetNASNet, DetNASSupernet, get_space
from detnas.errors import UserError
from detnas.modeling.backbone import resolve_arch
from detnas.modeling.choices import activate, inactive_modules, is_supernet, state_of

ARCH = "30-12-21-03"
PATH = (3, 0, 1, 2, 2, 1, 0, 3)


def config(builder="build_detnas_backbone", **detnas):
    detnas = {f"MODEL.DETNAS.{key}": value for key, value in {"SPACE": "tiny", **detnas}.items()}
    return bare_config({"MODEL.BACKBONE.NAME": builder, "MODEL.FPN.OUT_CHANNELS": 16, **detnas})


def randomize_statistics(model):
    """Batch norms that differ from each other, as after training."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                tensor.uniform_(0.5, 1.5, generator=generator)
    return model


@pytest.mark.parametrize("size", [(64, 96), (75, 101), (33, 64), (1, 1)])
@pytest.mark.parametrize("features", [["stage1", "stage2", "stage3", "stage4"], ["stage2", "stage4"], ["stage1"]])
def test_stages_have_strides_4_8_16_and_32_rounded_up_and_only_the_wanted_ones_are_returned(size, features):
    network = DetNASNet("tiny", ARCH, out_features=features).eval()
    outputs, shapes = network(torch.rand(2, 3, *size)), network.output_shape()
    assert list(outputs) == list(shapes) == features
    for name, channels, stride in zip(("stage1", "stage2", "stage3", "stage4"), (32, 64, 96, 128), (4, 8, 16, 32)):
        if name in features:
            assert outputs[name].shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride)), name
            assert shapes[name] == ShapeSpec(channels=channels, stride=stride)


def test_the_stem_is_a_stride_2_conv_with_bias_then_norm_and_relu():
    conv, *rest = DetNASNet("300M", "0" * 20).stem
    assert (conv.in_channels, conv.out_channels) == (3, 16)
    assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (2, 2), (1, 1))
    assert conv.bias is not None
    assert [type(layer) for layer in rest] == [nn.BatchNorm2d, nn.ReLU]


def test_parameter_names_count_stages_from_1_and_blocks_from_0():
    single = {key.rsplit(".", 3)[0] for key in DetNASNet("tiny", ARCH).state_dict() if key.startswith("stage")}
    assert single == {f"stage{k}.{j}" for k in (1, 2, 3, 4) for j in (0, 1)}
    parts = {tuple(key.split(".")[:3]) for key in DetNASSupernet("tiny").state_dict() if key.startswith("stage")}
    assert parts == {(f"stage{k}", str(j), str(op)) for k in (1, 2, 3, 4) for j in (0, 1) for op in range(4)}


@pytest.mark.parametrize("path", [ARCH, PATH, list(PATH)], ids=["arch", "path", "list"])
def test_a_network_takes_a_path_or_an_arch_and_a_space_or_its_name_for_good(path):
    assert DetNASNet("tiny", path).path == DetNASNet(get_space("tiny"), path).path == PATH
    with pytest.raises(AttributeError):
        DetNASNet("tiny", path).path = PATH


def test_a_supernet_starts_with_the_first_ops_and_a_path_sets_those_of_its_blocks_in_network_order():
    supernet = DetNASSupernet("tiny")
    for path in ((0,) * 8, PATH):
        assert supernet.path == path == tuple(block.choice for block in supernet.choice_blocks())
        activate(supernet, supernet.space, list(PATH))
    assert [*supernet.stage1, *supernet.stage2, *supernet.stage3, *supernet.stage4] == supernet.choice_blocks()
    sampled, unsampled = [block[op] for block, op in zip(supernet.choice_blocks(), PATH)], inactive_modules(supernet)
    assert len(unsampled) == 8 * 3 and not set(unsampled) & set(sampled)


@pytest.mark.parametrize(
    "path, message", [((0,) * 7, '7 blocks; space "tiny" has 8'), ((0,) * 7 + (4,), "4 at stage4.1")]
)
def test_a_wrong_path_is_refused_and_the_supernet_keeps_its_own(path, message):
    supernet = DetNASSupernet("tiny")
    activate(supernet, supernet.space, PATH)
    with pytest.raises(ValueError, match=message):
        activate(supernet, supernet.space, path)
    assert supernet.path == PATH
    assert tuple(block.choice for block in supernet.choice_blocks()) == PATH


@pytest.mark.parametrize("shuffle", ["even_odd", "interleave"])
@pytest.mark.parametrize("name, num_paths", [("tiny", 6), ("300M", 6), ("1.3G", 1), ("3.8G", 1)])
def test_a_supernets_path_gives_bit_for_bit_what_the_cut_out_network_gives(name, num_paths, shuffle):
    torch.manual_seed(0)
    space, rng, image = get_space(name), random.Random(0), torch.rand(2, 3, 64, 64)
    supernet = randomize_statistics(DetNASSupernet(space, shuffle=shuffle)).eval()
    uniform = [(op,) * space.num_blocks for op in range(4)] if num_paths > 1 else []
    for path in uniform + [space.random(rng) for _ in range(num_paths)]:
        network = DetNASNet(space, path, shuffle=shuffle).eval()
        network.load_state_dict(state_of(supernet, space, path))
        activate(supernet, supernet.space, path)
        outputs, expected = supernet(image), network(image)
        assert list(outputs) == list(expected) == ["stage1", "stage2", "stage3", "stage4"]
        assert all(torch.equal(outputs[name], expected[name]) for name in expected)


def test_other_paths_and_other_splits_give_other_outputs():
    torch.manual_seed(0)
    supernet, image = randomize_statistics(DetNASSupernet("tiny")).eval(), torch.rand(1, 3, 64, 64)
    interleaved = DetNASSupernet("tiny", shuffle="interleave").eval()
    interleaved.load_state_dict({key: value for key, value in supernet.state_dict().items() if key != "split"})
    first = supernet(image)["stage4"]
    assert not torch.equal(first, interleaved(image)["stage4"])
    activate(supernet, supernet.space, PATH)
    assert not torch.equal(first, supernet(image)["stage4"])


def test_the_state_of_a_candidate_keeps_what_is_outside_the_blocks_under_any_prefix():
    space = get_space("tiny")
    model = nn.ModuleDict({"body": DetNASSupernet(space), "linear": nn.Linear(2, 2)})
    state = state_of(model, space, PATH)
    assert [key for key in state if not key.startswith("body.stage")] == [
        key for key in model.state_dict() if not key.startswith("body.stage")
    ]
    own = {f"body.{key}" for key in DetNASNet(space, PATH).state_dict()}
    assert state.keys() == own | {"linear.weight", "linear.bias"}


def test_a_path_of_another_space_is_refused():
    with pytest.raises(UserError, match='8 blocks; space "300M" has 20'):
        state_of(DetNASSupernet("tiny"), get_space("300M"), PATH)


def test_a_supernet_is_seen_through_wrappers():
    assert is_supernet(nn.ModuleDict({"module": DetNASSupernet("tiny")}))
    assert not is_supernet(DetNASNet("tiny", PATH))


@pytest.mark.parametrize("arch, kind", [("supernet", DetNASSupernet), (ARCH, DetNASNet)])
def test_a_network_is_built_from_a_config(arch, kind):
    model = build_backbone(config(ARCH=arch, SHUFFLE="interleave", NORM="SyncBN", OUT_FEATURES=["stage2", "stage4"]))
    assert type(model) is kind and (model.space.name, model.norm, model.shuffle) == ("tiny", "SyncBN", "interleave")
    assert model.path == (PATH if arch == ARCH else (0,) * 8) and list(model.output_shape()) == ["stage2", "stage4"]
    assert {type(m) for m in model.modules() if "BatchNorm" in type(m).__name__} == {nn.SyncBatchNorm}


@pytest.mark.parametrize("builder, strides", [
    ("build_detnas_fpn_backbone", {"p3": 8, "p4": 16, "p5": 32, "p6": 64}),
    ("build_detnas_retinanet_fpn_backbone", {"p3": 8, "p4": 16, "p5": 32, "p6": 64, "p7": 128}),
])
@pytest.mark.parametrize("arch", ["supernet", ARCH])
def test_fpns_are_built_from_a_config_with_their_levels(builder, strides, arch):
    cfg = config(builder, ARCH=arch)
    cfg.MODEL.FPN.IN_FEATURES = ["stage2", "stage3", "stage4"]
    model = build_backbone(cfg).eval()
    assert model.output_shape() == {name: ShapeSpec(channels=16, stride=s) for name, s in strides.items()}
    outputs = model(torch.rand(1, 3, 128, 256))
    assert {n: y.shape for n, y in outputs.items()} == {n: (1, 16, 128 // s, 256 // s) for n, s in strides.items()}


@pytest.mark.parametrize("arch, message", [
    ("2120", r'MODEL.DETNAS.ARCH "2120": 4 blocks; space "tiny" has 8 \(2-2-2-2\)$'),
    ("DetNASNet", r'MODEL.DETNAS.ARCH "DetNASNet": not an arch: expected digits such as 00-00-00-00'),
    ("00-00-00-05", r'MODEL.DETNAS.ARCH "00-00-00-05": 5 at stage4.1 of space "tiny", which can be 0 shuf'),
    ("ShuffleNetv2-20", r'MODEL.DETNAS.ARCH "ShuffleNetv2-20" is a network of space "300M"; .*SPACE is "tiny"'),
])
def test_an_arch_that_does_not_fit_is_refused(arch, message):
    with pytest.raises(ValueError, match=message):
        resolve_arch(arch, get_space("tiny"))


@pytest.mark.parametrize("key, value, message", [
    ("SHUFFLE", "odd_even", 'shuffle "odd_even"; there are: even_odd, interleave'),
    ("OUT_FEATURES", ["res5"], 'out_features [\'res5\']; space "tiny" has stage1, stage2, stage3, stage4'),
])
def test_a_setting_that_does_not_fit_is_refused_with_those_there_are(key, value, message):
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        build_backbone(config(**{key: value}))
