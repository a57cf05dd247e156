import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage

import detnas
import spnas
from detnas.config.load import load_config
from detnas.errors import UserError

SMALL = {
    "MODEL.DEVICE": "cpu",
    "MODEL.SPNAS.BLOCK": "basic",
    "MODEL.SPNAS.BASE_WIDTH": 8,
    "MODEL.SPNAS.NORM": "BN",
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.ROI_HEADS.NUM_CLASSES": 2,
    "MODEL.RETINANET.NUM_CLASSES": 2,
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ANCHOR_GENERATOR.SIZES": [[16]],
}


def build(settings):
    """As in another Detectron2 project, without a config of ours."""
    cfg = get_cfg()
    detnas.add_detnas_config(cfg)
    spnas.add_spnas_config(cfg)
    for key, value in {**SMALL, **settings}.items():
        cfg.merge_from_list([key, value])
    spnas.fit_to_code(cfg)
    return build_model(cfg)


def train(model):
    """A step on images of odd size; names of the weights of the backbone that change."""
    instances = Instances((75, 93))
    instances.gt_boxes, instances.gt_classes = Boxes(torch.tensor([[10.0, 12.0, 50.0, 60.0]])), torch.tensor([1])
    mask = torch.zeros(1, 75, 93, dtype=torch.bool)
    mask[:, 12:60, 10:50] = True
    instances.gt_masks = BitMasks(mask)
    image = {"image": torch.randint(0, 255, (3, 75, 93)), "instances": instances, "height": 75, "width": 93}
    # The map of a sixth stage is one point; a batch norm needs two.
    images = [image, image]
    before = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
    with EventStorage():
        losses = model.train()(images)
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    torch.optim.SGD(model.parameters(), 0.001).step()
    assert len(model.eval()(images)) == 2
    return {name for name, p in model.backbone.named_parameters() if not torch.equal(p, before[name])}


FPN_NAME, RETINANET = "build_spnas_fpn_backbone", "build_spnas_retinanet_fpn_backbone"
HEADS = {"MODEL.ROI_HEADS.NAME": "StandardROIHeads"}
MASKS = {"MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead", "MODEL.ROI_MASK_HEAD.CONV_DIM": 8}
DETECTORS = {
    "Faster R-CNN": {"MODEL.BACKBONE.NAME": FPN_NAME, **HEADS},
    "Mask R-CNN": {"MODEL.BACKBONE.NAME": FPN_NAME, **HEADS, "MODEL.MASK_ON": True, **MASKS},
    "Cascade R-CNN": {
        **{"MODEL.BACKBONE.NAME": FPN_NAME, "MODEL.ROI_HEADS.NAME": "CascadeROIHeads"},
        **{"MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True},
    },
    "RetinaNet": {"MODEL.META_ARCHITECTURE": "RetinaNet", "MODEL.BACKBONE.NAME": RETINANET},
}


@pytest.mark.parametrize("code", ["1-2-1", "1-2-1_0-2-1", "12-1-12-1-1-1"])
@pytest.mark.parametrize("detector", DETECTORS)
def test_every_detector_trains_on_any_number_of_stages(detector, code):
    torch.manual_seed(0)
    model = build({**DETECTORS[detector], "MODEL.SPNAS.CODE": code})
    changed = train(model)
    assert any(name.startswith("bottom_up.") for name in changed)
    assert any(".fuse." in name for name in changed) == ("_" in code)
    # The image is padded to what the last level needs.
    strides = [shape.stride for shape in model.backbone.output_shape().values()]
    assert model.backbone.size_divisibility in (strides[-1], strides[-1] // 2, strides[-1] // 4)


def test_a_classifier_has_the_network_where_a_detector_has_it():
    cfg = {"MODEL.META_ARCHITECTURE": "ImageClassifier", "MODEL.BACKBONE.NAME": "build_spnas_classifier_backbone"}
    classifier, detector = build(cfg).state_dict(), build(DETECTORS["Faster R-CNN"]).state_dict()
    body = {name for name in classifier if name.startswith("backbone.bottom_up.")}
    assert body == {name for name in detector if name.startswith("backbone.bottom_up.")}


def config(code, name=FPN_NAME, sizes="[[32]]"):
    opts = ["MODEL.BACKBONE.NAME", name, "MODEL.SPNAS.CODE", code, "MODEL.ANCHOR_GENERATOR.SIZES", sizes]
    return load_config("", opts).MODEL


@pytest.mark.parametrize("code, stages", [("1-2-1", 3), ("1-2-1-1", 4), ("1-2-1-1-1", 5), ("1112-11-11-21-1-11", 6)])
def test_levels_and_anchors_follow_from_the_stages(code, stages):
    model = config(code)
    assert model.FPN.IN_FEATURES == [f"res{k}" for k in range(2, stages + 2)]
    assert model.ROI_HEADS.IN_FEATURES == [f"p{k}" for k in range(2, stages + 2)]
    assert model.RPN.IN_FEATURES == [f"p{k}" for k in range(2, stages + 3)]
    assert model.ANCHOR_GENERATOR.SIZES == [[32 * 2**k] for k in range(stages + 1)]
    # RetinaNet begins at the second stage and has two more levels.
    model = config(code, RETINANET, "[[32, 40]]")
    assert model.FPN.IN_FEATURES == [f"res{k}" for k in range(3, stages + 2)]
    assert model.RETINANET.IN_FEATURES == [f"p{k}" for k in range(3, stages + 4)]
    assert model.ANCHOR_GENERATOR.SIZES == [[32 * 2**k, 40 * 2**k] for k in range(stages + 1)]


def test_sizes_of_ones_own_and_other_backbones_are_left_alone_and_what_is_no_code_is_one_sentence():
    assert config("1-2-1", sizes="[[10], [20], [50], [90]]").ANCHOR_GENERATOR.SIZES[2] == [50]
    features = load_config("").MODEL.RPN.IN_FEATURES
    assert load_config("", ["MODEL.SPNAS.CODE", "1-2-1"]).MODEL.RPN.IN_FEATURES == features
    with pytest.raises(UserError, match='MODEL.SPNAS.CODE: code "11--21": stage 2 is empty'):
        config("11--21")
