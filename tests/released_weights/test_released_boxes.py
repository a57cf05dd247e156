"""A converted detector finds the boxes that the released code would, from the image on."""

import pytest
import released_boxes_reference as reference
import torch
from detectron2.modeling import build_model
from released_reference import Network
from scripts import ROOT
from test_released_outputs import TINY, convert, loaded, tool

import detnas
from detnas.config.load import load_config


def image(seed, height, width):
    """A smooth random image, so that features differ from place to place."""
    rng = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, height // 16, width // 16, generator=rng) * 255
    return torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 255)[0].round()


#: Offsets of a trained detector are small; random ones throw boxes out of the image.
SMALLER = {
    "retinanet": {"rpn.head.bbox_pred": 0.5},
    "faster_rcnn": {"rpn.head.bbox_pred": 0.1, "roi_heads.box.predictor.bbox_pred": 0.1},
}


@pytest.mark.parametrize("kind", SMALLER)
def test_a_converted_detector_finds_the_released_boxes(tmp_path, kind):
    network = Network(kind, path=TINY, classes=5)
    state = network.state
    for name, factor in SMALLER[kind].items():
        state[f"{name}.weight"] *= factor
        state[f"{name}.bias"] *= factor
    # The image enters as 0 to 255.
    state["backbone.body.first_conv.conv.weight"] /= 128
    if kind == "retinanet":
        state["rpn.head.cls_logits.bias"] -= 3
    _, model = loaded(tmp_path, state)
    for x in (image(1, 96, 144), image(2, 120, 88)):
        with torch.no_grad():
            ours = model([{"image": x, "height": x.shape[1], "width": x.shape[2]}])[0]["instances"]
            boxes, scores, classes = getattr(reference, kind)(network, TINY, x)
        assert len(ours) == len(boxes) and len(boxes) > 20
        torch.testing.assert_close(ours.scores.double(), scores, rtol=0, atol=1e-4)
        assert torch.equal(ours.pred_classes, classes)
        # Their last pixel is one before our edge.
        boxes = boxes + torch.tensor([0, 0, 1, 1])
        torch.testing.assert_close(ours.pred_boxes.tensor.double(), boxes, rtol=0, atol=0.01)


@pytest.mark.parametrize("kind", SMALLER)
def test_a_converted_detector_is_not_evaluated_with_other_anchors(tmp_path, kind, caplog):
    result, file = convert(tmp_path, Network(kind, path=TINY).state)
    opts = [*tool.settings(result), "MODEL.ANCHOR_GENERATOR.NAME", "DefaultAnchorGenerator", "MODEL.DEVICE", "cpu"]
    model = build_model(load_config(str(ROOT / "configs" / tool.BASES[kind]), opts))
    with pytest.raises(ValueError, match="unknown to the model .*needs_the_settings_that_convert_released_prints"):
        detnas.load_weights(model, file)
    # A training may have anchors of its own.
    caplog.set_level("INFO")
    detnas.load_weights(model, file, new_heads=True)
    assert "NOT USED" in caplog.text and "needs_the_settings_that_convert_released_prints" in caplog.text
