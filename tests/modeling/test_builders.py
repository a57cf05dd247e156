import math

import pytest
import torch
from base_rcnn_fpn import BASE_RCNN_FPN
from detectron2.config import LazyCall as L
from detectron2.config import get_cfg, instantiate
from detectron2.layers import ShapeSpec
from detectron2.modeling import FPN, GeneralizedRCNN, build_model
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7
from detectron2.modeling.box_regression import Box2BoxTransform, Box2BoxTransformLinear
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch.fcos import FCOS, FCOSHead
from detectron2.modeling.meta_arch.retinanet import RetinaNet, RetinaNetHead
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator.rpn import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import FastRCNNConvFCHead, FastRCNNOutputLayers, StandardROIHeads
from detectron2.solver import build_optimizer
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from toy_runs import DEVICE, bare_config

import detnas
from detnas.modeling.backbone import DetNASNet

STAGES = ["stage1", "stage2", "stage3", "stage4"]
#: heads of a detector take most of the time, and are not what is tested
FEW_BOXES = {
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 100,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 50,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
}
FPN_BASE = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    **FEW_BOXES,
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 4,
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.WEIGHTS": "",
}
#: the three lines that put a DetNAS network into such a config, and its space
DETNAS_LINES = {
    "MODEL.BACKBONE.NAME": "build_detnas_fpn_backbone",
    "MODEL.FPN.IN_FEATURES": STAGES,
    "MODEL.DETNAS.ARCH": "01-23-01-23",
    "MODEL.DETNAS.SPACE": "tiny",
}
DETECTORS = {
    "Faster R-CNN": {},
    "Mask R-CNN": {"MODEL.MASK_ON": True},
    "Cascade R-CNN": {"MODEL.ROI_HEADS.NAME": "CascadeROIHeads", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True},
    "Panoptic FPN": {"MODEL.META_ARCHITECTURE": "PanopticFPN", "MODEL.MASK_ON": True},
    "RetinaNet": {
        "MODEL.META_ARCHITECTURE": "RetinaNet",
        "MODEL.BACKBONE.NAME": "build_detnas_retinanet_fpn_backbone",
        "MODEL.FPN.IN_FEATURES": STAGES[1:],
        "MODEL.RETINANET.IN_FEATURES": ["p3", "p4", "p5", "p6", "p7"],
        "MODEL.ANCHOR_GENERATOR.SIZES": [[size, size * 1.26, size * 1.59] for size in (32, 64, 128, 256, 512)],
    },
}


def config(**overrides):
    return bare_config({**FPN_BASE, **DETNAS_LINES, **overrides})


def images(height=96, width=128, count=2):
    """Images with two masked boxes each, and the classes of all pixels."""
    torch.manual_seed(0)
    batch = []
    for _ in range(count):
        boxes = torch.tensor([[8.0, 8.0, 40.0, 48.0], [50.0, 20.0, 100.0, 80.0]])
        masks = torch.zeros(2, height, width, dtype=torch.bool)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist()):
            mask[y0:y1, x0:x1] = True
        instances = Instances(
            (height, width), gt_boxes=Boxes(boxes), gt_classes=torch.tensor([0, 3]), gt_masks=BitMasks(masks)
        )
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        batch.append({"image": image, "instances": instances, "sem_seg": torch.randint(0, 54, (height, width))})
    return batch


def train(model, optimizer, steps):
    model.train()
    losses = []
    with EventStorage():
        for _ in range(steps):
            loss = sum(model(images()).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def assert_trains(model, optimizer):
    """One step gives a finite loss and moves the first conv, the furthest from it."""
    before = model.backbone.bottom_up.stem[0].weight.clone()
    assert math.isfinite(train(model, optimizer, 1)[0])
    assert all(p.grad is not None for p in model.backbone.parameters())
    assert not torch.equal(before, model.backbone.bottom_up.stem[0].weight)


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_of_yaml_configs_train_and_detect_with_a_detnas_backbone(name):
    cfg = config(**DETECTORS[name])
    model = build_model(cfg)
    assert isinstance(model.backbone.bottom_up, DetNASNet)
    assert_trains(model, build_optimizer(cfg, model))
    model.eval()
    with torch.no_grad():
        results = model([{"image": x["image"], "height": 96, "width": 128} for x in images()])
    assert len(results) == 2 and all("instances" in result for result in results)


def test_mask_rcnn_trains_three_steps_from_a_yaml_that_adds_three_lines(tmp_path):
    (tmp_path / "Base-RCNN-FPN.yaml").write_text(BASE_RCNN_FPN)
    (tmp_path / "mask_rcnn.yaml").write_text(
        "_BASE_: Base-RCNN-FPN.yaml\n"
        "MODEL:\n"
        '  BACKBONE: {NAME: "build_detnas_fpn_backbone"}\n'
        '  FPN: {IN_FEATURES: ["stage1", "stage2", "stage3", "stage4"]}\n'
        '  DETNAS: {ARCH: "DetNAS-COCO-FPN-300M", NORM: "BN"}\n'
    )
    cfg = get_cfg()
    detnas.add_detnas_config(cfg)
    cfg.merge_from_file(str(tmp_path / "mask_rcnn.yaml"))
    few = [word for pair in FEW_BOXES.items() for word in pair]
    cfg.merge_from_list([*few, "MODEL.MASK_ON", True, "MODEL.DEVICE", "cpu", "SOLVER.BASE_LR", 0.001])
    model = build_model(cfg)
    losses = train(model, build_optimizer(cfg, model), 3)
    assert losses[2] < losses[0]


def lazy_fpn(top_block, in_features):
    return L(FPN)(
        bottom_up=L(DetNASNet)(space="tiny", path="01-23-01-23"),
        in_features=in_features,
        out_channels=32,
        top_block=top_block,
    )


def lazy_retinanet():
    backbone = lazy_fpn(L(LastLevelP6P7)(in_channels=32, out_channels=32, in_feature="p5"), STAGES[1:])
    return L(RetinaNet)(
        backbone=backbone,
        head=L(RetinaNetHead)(
            input_shape=[ShapeSpec(channels=32)] * 5, num_classes=5, conv_dims=[32, 32], prior_prob=0.01, num_anchors=3
        ),
        anchor_generator=L(DefaultAnchorGenerator)(
            sizes=[[2 ** (k + 5)] for k in range(5)], aspect_ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128]
        ),
        box2box_transform=L(Box2BoxTransform)(weights=[1.0, 1.0, 1.0, 1.0]),
        anchor_matcher=L(Matcher)(thresholds=[0.4, 0.5], labels=[0, -1, 1], allow_low_quality_matches=True),
        num_classes=5,
        head_in_features=["p3", "p4", "p5", "p6", "p7"],
        pixel_mean=[0.0, 0.0, 0.0],
        pixel_std=[1.0, 1.0, 1.0],
    )


def lazy_fcos():
    backbone = lazy_fpn(L(LastLevelP6P7)(in_channels=32, out_channels=32, in_feature="p5"), STAGES[1:])
    return L(FCOS)(
        backbone=backbone,
        head=L(FCOSHead)(input_shape=[ShapeSpec(channels=32)] * 5, num_classes=5, conv_dims=[32, 32]),
        box2box_transform=L(Box2BoxTransformLinear)(normalize_by_size=True),
        num_classes=5,
        head_in_features=["p3", "p4", "p5", "p6", "p7"],
        pixel_mean=[0.0, 0.0, 0.0],
        pixel_std=[1.0, 1.0, 1.0],
    )


def lazy_rcnn():
    anchors = L(DefaultAnchorGenerator)(
        sizes=[[2 ** (k + 5)] for k in range(5)], aspect_ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]
    )
    pooler = L(ROIPooler)(
        output_size=7, scales=[1 / 4, 1 / 8, 1 / 16, 1 / 32], sampling_ratio=0, pooler_type="ROIAlignV2"
    )
    return L(GeneralizedRCNN)(
        backbone=lazy_fpn(L(LastLevelMaxPool)(), STAGES),
        proposal_generator=L(RPN)(
            in_features=["p2", "p3", "p4", "p5", "p6"],
            head=L(StandardRPNHead)(in_channels=32, num_anchors=3),
            anchor_generator=anchors,
            anchor_matcher=L(Matcher)(thresholds=[0.3, 0.7], labels=[0, -1, 1], allow_low_quality_matches=True),
            box2box_transform=L(Box2BoxTransform)(weights=[1.0, 1.0, 1.0, 1.0]),
            batch_size_per_image=64,
            positive_fraction=0.5,
            pre_nms_topk=(200, 100),
            post_nms_topk=(100, 50),
        ),
        roi_heads=L(StandardROIHeads)(
            num_classes=5,
            batch_size_per_image=64,
            positive_fraction=0.25,
            proposal_matcher=L(Matcher)(thresholds=[0.5], labels=[0, 1], allow_low_quality_matches=False),
            box_in_features=["p2", "p3", "p4", "p5"],
            box_pooler=pooler,
            box_head=lazy_box_head(),
            box_predictor=lazy_predictor((10, 10, 5, 5)),
        ),
        pixel_mean=[0.0, 0.0, 0.0],
        pixel_std=[1.0, 1.0, 1.0],
    )


def lazy_box_head():
    return L(FastRCNNConvFCHead)(input_shape=ShapeSpec(channels=32, height=7, width=7), conv_dims=[], fc_dims=[64])


def lazy_predictor(weights):
    return L(FastRCNNOutputLayers)(
        input_shape=ShapeSpec(channels=64),
        box2box_transform=L(Box2BoxTransform)(weights=weights),
        num_classes=5,
    )


@pytest.mark.parametrize("lazy", [lazy_rcnn, lazy_retinanet, lazy_fcos])
def test_detectors_of_lazy_configs_train_with_a_detnas_backbone(lazy):
    model = instantiate(lazy())
    assert_trains(model, torch.optim.SGD(model.parameters(), 1e-3))


def test_a_lazy_config_of_an_fpn_is_the_fpn_of_the_yaml_config():
    torch.manual_seed(0)
    lazy = instantiate(lazy_fpn(L(LastLevelMaxPool)(), STAGES))
    yaml = build_model(config(**{"MODEL.FPN.OUT_CHANNELS": 32})).backbone
    yaml.load_state_dict(lazy.state_dict())
    image = torch.rand(1, 3, 64, 64, device=DEVICE)
    lazy_out, yaml_out = lazy.to(DEVICE).eval()(image), yaml.eval()(image)
    assert list(lazy_out) == list(yaml_out)
    assert all(torch.equal(lazy_out[name], yaml_out[name]) for name in lazy_out)


@pytest.mark.parametrize("norm", ["BN", "SyncBN", "FrozenBN", "GN", "naiveSyncBN"])
def test_every_norm_of_detectron2_can_be_chosen(norm):
    # 32 groups, the number of Detectron2's GN, must divide all widths.
    space = detnas.SearchSpace("wide", 32, (128, 256), (1, 2))
    net = DetNASNet(space, "012", norm=norm).eval()
    assert net(torch.rand(1, 3, 32, 32))["stage2"].shape == (1, 256, 4, 4)


@pytest.mark.parametrize("norm", ["LN2", ""])
def test_an_unknown_norm_is_an_error_that_names_the_known_ones(norm):
    with pytest.raises(ValueError, match=f'norm "{norm}"; there are: BN, SyncBN, FrozenBN, GN, naiveSyncBN'):
        DetNASNet("tiny", "00-00-00-00", norm=norm)


@pytest.mark.parametrize("freeze_at", range(6))
def test_freezing_leaves_the_first_parts_as_they_are(freeze_at):
    parts = ["stem", *STAGES]
    net = DetNASNet("tiny", "01-23-01-23", freeze_at=freeze_at)
    trained = {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad}
    assert trained == set(parts[freeze_at:])
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.train()(torch.rand(2, 3, 64, 64))
    moved = {key.split(".")[0] for key, value in net.state_dict().items() if not torch.equal(before[key], value)}
    assert moved == set(parts[freeze_at:])


def test_freezing_more_parts_than_there_are_is_an_error():
    with pytest.raises(ValueError, match='freeze_at 6; space "tiny" has 0 to 5'):
        DetNASNet("tiny", "01-23-01-23", freeze_at=6)


def test_the_config_says_how_much_is_frozen():
    model = build_model(config(**{"MODEL.DETNAS.FREEZE_AT": 2}))
    trained = {n.split(".")[0] for n, p in model.backbone.bottom_up.named_parameters() if p.requires_grad}
    assert trained == {"stage2", "stage3", "stage4"}


def test_the_fpn_pads_to_its_largest_stride_and_the_plain_network_needs_no_padding():
    model = build_model(config())
    assert model.backbone.size_divisibility == 32
    assert model.backbone.bottom_up.size_divisibility == 0
    model.eval()
    with torch.no_grad():
        model([{"image": torch.zeros(3, 71, 93, dtype=torch.uint8)}])
        features = model.backbone.bottom_up(torch.rand(1, 3, 71, 93, device=DEVICE))
    assert [tuple(f.shape[2:]) for f in features.values()] == [(18, 24), (9, 12), (5, 6), (3, 3)]
