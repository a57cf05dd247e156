import random

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import FPN, build_backbone
from torch import nn
from toy_runs import bare_config

from detnas import SPACES, DetNASNet, DetNASSupernet, get_space
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
def test_stages_have_strides_4_8_16_and_32_rounded_up(size):
    height, width = size
    outputs = DetNASNet("tiny", ARCH).eval()(torch.rand(2, 3, height, width))
    for (name, y), channels, stride in zip(outputs.items(), (32, 64, 96, 128), (4, 8, 16, 32)):
        assert y.shape == (2, channels, -(-height // stride), -(-width // stride)), name


@pytest.mark.parametrize("size", [(64, 96), (75, 101)])
def test_all_ops_of_a_block_give_the_same_shape(size):
    supernet, image = DetNASSupernet("tiny").eval(), torch.rand(1, 3, *size)
    shapes = []
    for op in range(4):
        activate(supernet, supernet.space, (op,) * 8)
        shapes.append([y.shape for y in supernet(image).values()])
    assert all(s == shapes[0] for s in shapes)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_output_shape_says_channels_and_strides_of_all_stages(space):
    with torch.device("meta"):
        network = DetNASNet(space, (0,) * space.num_blocks)
    assert network.output_shape() == {
        f"stage{k + 1}": ShapeSpec(channels=space.stage_channels[k], stride=2 ** (k + 2)) for k in range(4)
    }


@pytest.mark.parametrize("features", [["stage1"], ["stage2", "stage4"], ["stage4", "stage1"]])
def test_only_the_wanted_features_are_returned(features):
    network = DetNASNet("tiny", ARCH, out_features=features).eval()
    everything = DetNASNet("tiny", ARCH).eval()
    everything.load_state_dict(network.state_dict())
    image = torch.rand(1, 3, 64, 64)
    outputs, expected = network(image), everything(image)
    assert set(outputs) == set(network.output_shape()) == set(features)
    assert all(torch.equal(outputs[name], expected[name]) for name in features)


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
def test_a_network_takes_a_path_or_an_arch_and_a_space_or_its_name(path):
    assert DetNASNet("tiny", path).path == DetNASNet(get_space("tiny"), path).path == PATH


def test_a_single_networks_path_cannot_be_set():
    with pytest.raises(AttributeError):
        DetNASNet("tiny", ARCH).path = PATH


def test_a_supernet_starts_with_the_first_op_everywhere():
    supernet = DetNASSupernet("tiny")
    assert supernet.path == (0,) * 8
    assert all(block.choice == 0 for block in supernet.choice_blocks())


def test_setting_the_path_chooses_the_op_of_every_block_in_network_order():
    supernet = DetNASSupernet("tiny")
    activate(supernet, supernet.space, list(PATH))
    assert supernet.path == PATH
    assert tuple(block.choice for block in supernet.choice_blocks()) == PATH
    assert [list(stage) for stage in (supernet.stage1, supernet.stage4)] == [
        supernet.choice_blocks()[:2], supernet.choice_blocks()[6:]
    ]


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


def test_unsampled_ops_are_all_but_one_a_block():
    supernet = DetNASSupernet("tiny")
    activate(supernet, supernet.space, PATH)
    sampled = [block[op] for block, op in zip(supernet.choice_blocks(), PATH)]
    unsampled = inactive_modules(supernet)
    assert len(unsampled) == 8 * 3
    assert not set(unsampled) & set(sampled)
    assert set(unsampled) | set(sampled) == {op for block in supernet.choice_blocks() for op in block}


def test_a_backward_pass_gives_unsampled_ops_no_gradient_and_the_others_one():
    supernet = DetNASSupernet("tiny").train()
    activate(supernet, supernet.space, PATH)
    supernet(torch.rand(2, 3, 64, 64))["stage4"].square().sum().backward()
    unsampled = {p for op in inactive_modules(supernet) for p in op.parameters()}
    for name, parameter in supernet.named_parameters():
        assert (parameter.grad is None) == (parameter in unsampled), name


def test_a_training_pass_leaves_the_batch_norms_of_unsampled_ops_as_they_were():
    supernet = DetNASSupernet("tiny").train()
    activate(supernet, supernet.space, PATH)
    supernet(torch.rand(2, 3, 64, 64))
    steps = {name for name, b in supernet.named_buffers() if name.endswith("num_batches_tracked") and b == 1}
    expected = {f"stage{1 + i // 2}.{i % 2}.{op}" for i, op in enumerate(PATH)} | {"stem"}
    assert {n.split(".main")[0].split(".proj")[0].removesuffix(".1.num_batches_tracked") for n in steps} == expected


def test_a_supernet_is_seen_through_the_fpn_and_other_wrappers():
    model = build_backbone(fpn_config("build_detnas_fpn_backbone"))
    assert isinstance(model, FPN) and is_supernet(nn.ModuleDict({"module": model}))
    assert not is_supernet(DetNASNet("tiny", PATH))


def fpn_config(builder, **detnas):
    cfg = config(builder, **detnas)
    cfg.MODEL.FPN.IN_FEATURES = [f"stage{k}" for k in (2, 3, 4)]
    return cfg


def test_a_supernet_is_built_from_a_config():
    model = build_backbone(config(SHUFFLE="interleave", OUT_FEATURES=["stage2", "stage4"]))
    assert type(model) is DetNASSupernet
    assert (model.space.name, model.norm, model.shuffle) == ("tiny", "BN", "interleave")
    assert list(model.output_shape()) == ["stage2", "stage4"]


def test_a_single_network_is_built_from_a_config_with_an_arch():
    model = build_backbone(config(ARCH=ARCH))
    assert type(model) is DetNASNet
    assert model.path == PATH
    assert list(model.output_shape()) == ["stage1", "stage2", "stage3", "stage4"]


def test_the_norm_of_the_config_is_the_norm_of_all_blocks():
    model = build_backbone(config(ARCH=ARCH, NORM="SyncBN"))
    norms = {type(m) for m in model.modules() if "BatchNorm" in type(m).__name__}
    assert norms == {nn.SyncBatchNorm}


@pytest.mark.parametrize(
    "builder, strides",
    [
        ("build_detnas_fpn_backbone", {"p3": 8, "p4": 16, "p5": 32, "p6": 64}),
        ("build_detnas_retinanet_fpn_backbone", {"p3": 8, "p4": 16, "p5": 32, "p6": 64, "p7": 128}),
    ],
)
@pytest.mark.parametrize("arch", ["supernet", ARCH])
def test_fpns_are_built_from_a_config_with_their_levels(builder, strides, arch):
    model = build_backbone(fpn_config(builder, ARCH=arch)).eval()
    assert model.output_shape() == {name: ShapeSpec(channels=16, stride=s) for name, s in strides.items()}
    outputs = model(torch.rand(1, 3, 128, 256))
    assert {n: y.shape for n, y in outputs.items()} == {n: (1, 16, 128 // s, 256 // s) for n, s in strides.items()}


def test_p6_and_p7_of_retinanet_are_convolved_from_p5():
    model = build_backbone(fpn_config("build_detnas_retinanet_fpn_backbone"))
    assert model.top_block.in_feature == "p5"
    assert (model.top_block.p6.in_channels, model.top_block.p7.in_channels) == (16, 16)


@pytest.mark.parametrize(
    "arch, message",
    [
        ("2120", r'MODEL.DETNAS.ARCH "2120": 4 blocks; space "tiny" has 8 \(2-2-2-2\)$'),
        ("DetNASNet", r'MODEL.DETNAS.ARCH "DetNASNet": not an arch: expected digits such as 00-00-00-00'),
        ("00-00-00-05", r'MODEL.DETNAS.ARCH "00-00-00-05": 5 at stage4.1 of space "tiny", which can be 0 shuf'),
        ("ShuffleNetv2-20", r'MODEL.DETNAS.ARCH "ShuffleNetv2-20" is a network of space "300M"; .*SPACE is "tiny"'),
    ],
)
def test_an_arch_that_does_not_fit_is_refused(arch, message):
    with pytest.raises(ValueError, match=message):
        resolve_arch(arch, get_space("tiny"))


def test_an_unknown_split_is_refused_with_the_known_ones():
    with pytest.raises(ValueError) as e:
        build_backbone(config(SHUFFLE="odd_even"))
    assert str(e.value) == 'shuffle "odd_even"; there are: even_odd, interleave'


def test_an_unknown_feature_is_refused_with_the_known_ones():
    with pytest.raises(ValueError) as e:
        build_backbone(config(OUT_FEATURES=["stage1", "res5"]))
    assert str(e.value) == "out_features ['stage1', 'res5']; space \"tiny\" has stage1, stage2, stage3, stage4"
