import random

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.modeling import build_model
from released_reference import Network
from scripts import ROOT, script
from toy_runs import command, detection

import detnas
from detnas import PUBLISHED, get_space
from detnas.commands.train import train
from detnas.config.load import load_config
from detnas.modeling.backbone import DetNASSupernet
from detnas.modeling.choices import activate
from released.convert import from_released

TINY = (0, 1, 2, 3, 3, 2, 1, 0)
tool = script("tools", "convert_released")


def convert(tmp_path, state, *flags):
    """Convert through the command line; the result and the file."""
    torch.save(state, tmp_path / "released.pth")
    args = tool.parser().parse_args([str(tmp_path / "released.pth"), str(tmp_path / "made" / "ours.pth"), *flags])
    return tool.main(args), str(tmp_path / "made" / "ours.pth")


def build(result):
    """The model that the printed settings give, with plain batch norm, in eval mode."""
    opts = [*tool.settings(result), "MODEL.DEVICE", "cpu"]
    cfg = load_config(str(ROOT / "configs" / tool.BASES[result.kind]), opts)
    return build_model(cfg).eval()


def loaded(tmp_path, state, *flags):
    result, file = convert(tmp_path, state, *flags)
    model = build(result)
    detnas.load_weights(model, file)
    return result, model


def paths(path):
    """The path of a single network, or some of a supernet."""
    return [path] if path else [TINY, tuple(random.Random(1).randrange(4) for _ in range(8))]


def set_path(model, path):
    for supernet in (module for module in model.modules() if isinstance(module, DetNASSupernet)):
        activate(supernet, supernet.space, path)


def close(ours, theirs):
    scale = max(1.0, theirs.abs().max().item())
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-5)


IMAGE = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(3))


SMALL = get_space("300M").parse(PUBLISHED["DetNAS-COCO-FPN-300M"].arch)
CLASSIFIERS = {"single": ("tiny", TINY), "supernet": ("tiny", None), "small": ("300M", SMALL)}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("shuffle", [None, "even_odd", "interleave"])
@torch.no_grad()
def test_a_converted_classifier_gives_the_released_logits(tmp_path, name, shuffle):
    space, path = CLASSIFIERS[name]
    network = Network("classifier", space, path, 10)
    state = {f"module.{key}": value for key, value in network.state.items()}
    result, model = loaded(tmp_path, state, *(["--shuffle", shuffle] if shuffle else []))
    network.shuffle = shuffle or network.shuffle
    found = result.kind, result.space, result.shuffle, result.num_classes
    assert found == ("classifier", space, network.shuffle, 10)
    for p in paths(path):
        set_path(model, p)
        close(model.linear(model.backbone(IMAGE)["last"].mean((2, 3))), network.logits(IMAGE, p))


@pytest.mark.parametrize("kind, unused", [("faster_rcnn", ["rpn.anchor_generator.cell_anchors.0"]), ("retinanet", [])])
@torch.no_grad()
def test_a_converted_supernet_of_a_detector_gives_the_released_levels(tmp_path, kind, unused):
    network = Network(kind)
    result, model = loaded(tmp_path, {"model": network.state, "iteration": 3})
    assert (result.kind, result.num_classes, result.unused) == (kind, 80, unused)
    for p in paths(None):
        set_path(model, p)
        ours = model.backbone(IMAGE)
        for name, feature in network.levels(IMAGE, p).items():
            close(ours[name], feature)


@pytest.mark.parametrize("name", [name for name, net in PUBLISHED.items() if net.space == "300M"])
def test_space_and_arch_of_published_networks_are_recognised(name):
    network = PUBLISHED[name]
    result = from_released(Network("classifier", "300M", get_space("300M").parse(network.arch)).state)
    assert (result.kind, result.space, result.arch) == ("classifier", network.space, network.arch)


def test_every_name_of_a_released_file_is_used_or_listed_and_detectron2s_own_checkpointer_loads_all(tmp_path, caplog):
    state = Network("faster_rcnn", path=TINY).state
    result, file = convert(tmp_path, state)
    folded = 4 * 2 + 4
    # The split is added, and the mark of the anchors; the biases before a norm are in its mean.
    assert len(result.state) == len(state) - len(result.unused) - folded + 2
    assert any("12 conv biases" in change for change in result.changes)
    model = build(result)
    DetectionCheckpointer(model).load(file)
    assert all(torch.equal(value, result.state[name]) for name, value in model.state_dict().items())
    assert "not found in the checkpoint" not in caplog.text and "Skip loading" not in caplog.text


def test_a_converted_file_says_what_it_is_and_does_not_load_into_a_model_with_the_other_split(tmp_path, refused):
    result, file = convert(tmp_path, Network("classifier").state)
    saved = torch.load(file, weights_only=True)
    assert saved["detnas"] == {"kind": "classifier", "space": "tiny", "arch": "supernet", "shuffle": "interleave"}
    result.shuffle = "even_odd"
    with pytest.raises(ValueError, match='for the channel split "interleave" and the model has "even_odd"'):
        detnas.load_weights(build(result), file)
    said = refused(convert, tmp_path, Network("classifier", path=TINY).state, "--shuffle", "odd")
    assert 'shuffle "odd"; there are: even_odd, interleave' in said


def test_step_2_starts_from_a_converted_supernet(tmp_path, toy_root):
    result, file = convert(tmp_path, Network("classifier").state)
    settings = {"MODEL.WEIGHTS": file, "MODEL.DETNAS.SHUFFLE": "interleave", "OUTPUT_DIR": tmp_path / "2"}
    settings |= {"SOLVER.MAX_ITER": 1, "SOLVER.BASE_LR": 1e-9}
    train(command("toy_2_train_supernet", {**detection(toy_root), **settings, "DATASETS.TEST": "()"}))
    trained = torch.load(tmp_path / "2" / "model_final.pth", weights_only=True)["model"]
    taken = [name for name, value in result.state.items() if name.startswith("backbone.bottom_up") and value.ndim == 4]
    for name in taken:
        close(trained[name], result.state[name])
    assert len(taken) > 100


def without(prefix):
    return lambda state: {name: value for name, value in state.items() if not name.startswith(prefix)}


def renamed(old, new):
    return lambda state: {name.replace(old, new): value for name, value in state.items()}


def cut(name):
    return lambda state: {**state, name: state[name][:-1]}


PLAIN, DETECTOR = ("classifier", TINY), ("faster_rcnn", TINY)
BAD = {
    "a missing tensor": (PLAIN, without("last_conv.bn.running_mean"), "backbone.last.1.running_mean"),
    "a missing block": (PLAIN, without("features.3."), "features.3.* is missing; the last block is features.7"),
    "a missing stem": (PLAIN, without("first_conv"), "these are not names of the released DetNAS code"),
    "other names": (PLAIN, renamed("features", "layers"), "these are not names of the released DetNAS code"),
    "a wrong shape": (PLAIN, cut("fc.fc.bias"), "shapes differ (linear.bias)"),
    "an unknown depth": (PLAIN, without("features.7."), "no known space has 7 blocks in stages of 2-2-2-1"),
    "two ops in a block": (
        PLAIN,
        lambda state: {**state, **renamed("3x3", "5x5")({k: v for k, v in state.items() if "features.0.conv" in k})},
        "features.0 has several ops: shufflenet_3x3, shufflenet_5x5",
    ),
    "a supernet without an op": (
        ("classifier", None),
        without("features.2.1."),
        'features.2 has the ops (\'shufflenet_3x3\', \'shufflenet_7x7\', \'xception_3x3\'); space "tiny" has',
    ),
    "a box without a class": (
        DETECTOR,
        cut("roi_heads.box.predictor.cls_score.weight"),
        "bbox_pred.weight has 324 rows; 4 for each of the 80 of cls_score",
    ),
    "no scores": (DETECTOR, without("roi_heads.box.predictor.cls_score"), "one of them is missing"),
    "other anchors": (
        ("retinanet", TINY),
        cut("rpn.head.bbox_pred.weight"),
        "head.bbox_pred.weight has 35 rows; 3 sizes and 3 ratios of anchors were expected",
    ),
    "a tensor under two names": (
        PLAIN,
        lambda state: {**state, **renamed("1a_", "9z_")(state)},
        "and another name of the file are the same tensor",
    ),
    "a missing head": (DETECTOR, without("rpn.head.cls_logits"), "proposal_generator.rpn_head.objectness_logits"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_not_whole_is_an_error_that_names_the_culprit(tmp_path, refused, case):
    (kind, path), spoil, words = BAD[case]
    assert words in refused(convert, tmp_path, spoil(Network(kind, path=path).state))
    assert not (tmp_path / "made" / "ours.pth").exists()


def test_a_file_is_not_converted_into_itself(tmp_path, refused):
    file = tmp_path / "released.pth"
    file.write_bytes(b"weights")
    args = tool.parser().parse_args([str(file)] * 2)
    assert f"{file} is the file that is read" in refused(tool.main, args) and file.read_bytes() == b"weights"
