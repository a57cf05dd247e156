import pytest
import torch
from detectron2.modeling import build_backbone, build_model
from toy_runs import bare_config

import detnas
from detnas.errors import UserError
from detnas.modeling.choices import activate
from detnas.space import PAPER_OPS, SearchSpace

SOUND = dict(name="custom", stem_channels=16, stage_channels=(48, 96), stage_depths=(2, 1), last_channels=128)


def config(**own):
    keys = {f"MODEL.DETNAS.CUSTOM_SPACE.{key}": value for key, value in own.items()}
    return bare_config({"MODEL.DETNAS.SPACE": "custom", **keys})


SMALL = dict(STAGE_CHANNELS=[48, 96], STAGE_DEPTHS=[2, 1], LAST_CHANNELS=128, OPS=["xception_3x3", "shufflenet_7x7"])


def test_a_space_of_ones_own_is_read_from_the_config():
    space = detnas.config_space(config(**SMALL))
    assert space == SearchSpace("custom", 16, (48, 96), (2, 1), 128, ("xception_3x3", "shufflenet_7x7"))
    assert space.format((0, 1, 1)) == "01-1"
    with pytest.raises(ValueError, match="2 at stage1.1 of space .*, which can be 0 xception_3x3, 1 shufflenet_7x7"):
        space.parse("02-1")


def test_by_default_a_custom_space_is_the_small_one_of_the_paper():
    own, small = detnas.config_space(config()), detnas.get_space("300M")
    assert list(own.blocks()) == list(small.blocks()) and own.ops == small.ops == PAPER_OPS


def test_a_network_and_a_supernet_of_a_custom_space_are_built():
    cfg = config(**SMALL)
    cfg.merge_from_list(["MODEL.META_ARCHITECTURE", "ImageClassifier", "MODEL.DETNAS.ARCH", "011"])
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", "build_detnas_classifier_backbone"])
    net = build_model(cfg).backbone.bottom_up
    cfg.MODEL.DETNAS.ARCH = "supernet"
    supernet = build_model(cfg).backbone.bottom_up
    path = (0, 1, 1)
    net.load_state_dict(detnas.state_of(supernet, supernet.space, path))
    activate(supernet, supernet.space, path)
    image = torch.rand(1, 3, 32, 48)
    assert torch.equal(net.eval()(image)["stage2"], supernet.eval()(image)["stage2"])
    assert len(supernet.stage1[0]) == 2


def test_the_fpn_of_a_space_with_other_than_four_stages_ends_one_level_above_its_last():
    cfg = config(**SMALL)
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.FPN.IN_FEATURES = "build_detnas_fpn_backbone", ["stage1", "stage2"]
    cfg.MODEL.DETNAS.ARCH = "011"
    features = build_backbone(cfg)(torch.zeros(1, 3, 64, 64))
    assert {name: tuple(x.shape[2:]) for name, x in features.items()} == {"p2": (16, 16), "p3": (8, 8), "p4": (4, 4)}


@pytest.mark.parametrize("wrong, message", [
    (dict(stage_depths=(2, 1, 1)), r"each stage needs channels and a depth; they are \(48, 96\) and \(2, 1, 1\)"),
    (dict(stage_channels=(), stage_depths=()), "each stage needs channels and a depth"),
    (dict(stage_depths=(2, 0)), "channels and depths must be positive whole numbers"),
    (dict(stem_channels=-16), "channels and depths must be positive whole numbers"),
    (dict(stage_channels=(48.0, 96)), "channels and depths must be positive whole numbers"),
    (dict(last_channels=0), "channels and depths must be positive whole numbers"),
    (dict(stage_channels=(96, 48)), r"channels must grow from the stem to the last stage; they are \(16, 96, 48\)"),
    (dict(stem_channels=48), "channels must grow from the stem"),
    (dict(stage_channels=(49, 96)), r"stage channels must be even; they are \(49, 96\)"),
    (dict(ops=("shufflenet_9x9",)), 'unknown op "shufflenet_9x9"; there are: shufflenet_3x3, '),
    (dict(ops=()), "ops must be different ones, at least one"),
    (dict(ops=("xception_3x3", "xception_3x3")), "ops must be different ones, at least one"),
])
def test_a_space_of_which_no_network_can_be_built_is_an_error(wrong, message):
    with pytest.raises(ValueError, match=f'space "custom": {message}'):
        SearchSpace(**{**SOUND, **wrong})


def test_a_config_with_an_unknown_space_names_those_there_are():
    cfg = config()
    cfg.MODEL.DETNAS.SPACE = "400M"
    known = "300M, 1.3G, 3.8G, 1.3G-wide, 3.8G-wide, tiny, custom"
    with pytest.raises(UserError, match=f'unknown space "400M"; there are: {known}'):
        detnas.config_space(cfg)
