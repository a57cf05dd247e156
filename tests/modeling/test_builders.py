import math

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from detectron2.modeling import FPN, build_model
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.solver import build_optimizer
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from toy_runs import DEVICE, bare_config

import detnas
from detnas.modeling.backbone import DetNASNet

STAGES = ["stage1", "stage2", "stage3", "stage4"]
FPN_BASE = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    # Heads of a detector take most of the time, and are not what is tested.
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 100,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 50,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 32,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 64,
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


def images():
    """Two images with two masked boxes each, and the classes of all pixels."""
    torch.manual_seed(0)
    batch = []
    for _ in range(2):
        boxes = torch.tensor([[8.0, 8.0, 40.0, 48.0], [50.0, 20.0, 100.0, 80.0]])
        masks = torch.zeros(2, 96, 128, dtype=torch.bool)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist()):
            mask[y0:y1, x0:x1] = True
        instances = Instances(
            (96, 128), gt_boxes=Boxes(boxes), gt_classes=torch.tensor([0, 3]), gt_masks=BitMasks(masks)
        )
        image = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8)
        batch.append({"image": image, "instances": instances, "sem_seg": torch.randint(0, 54, (96, 128))})
    return batch


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_train_and_detect_with_a_detnas_backbone(name):
    cfg = config(**DETECTORS[name])
    model = build_model(cfg)
    optimizer, stem = build_optimizer(cfg, model), model.backbone.bottom_up.stem[0].weight
    before = stem.clone()
    with EventStorage():
        loss = sum(model.train()(images()).values())
        loss.backward()
        optimizer.step()
    assert math.isfinite(loss) and all(p.grad is not None for p in model.backbone.parameters())
    # The first conv is the furthest from the loss.
    assert not torch.equal(before, stem)
    with torch.no_grad():
        results = model.eval()([{"image": x["image"], "height": 96, "width": 128} for x in images()])
    assert len(results) == 2 and all("instances" in result for result in results)


def test_a_lazy_config_of_an_fpn_is_the_fpn_of_the_yaml_config():
    torch.manual_seed(0)
    network = L(DetNASNet)(space="tiny", path="01-23-01-23")
    lazy = instantiate(L(FPN)(bottom_up=network, in_features=STAGES, out_channels=32, top_block=L(LastLevelMaxPool)()))
    yaml = build_model(config()).backbone
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
    net = build_model(config(**{"MODEL.DETNAS.FREEZE_AT": freeze_at})).backbone.bottom_up
    trained = {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad}
    assert trained == set(parts[freeze_at:])
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.train()(torch.rand(2, 3, 64, 64, device=DEVICE))
    moved = {key.split(".")[0] for key, value in net.state_dict().items() if not torch.equal(before[key], value)}
    assert moved == set(parts[freeze_at:])


def test_freezing_more_parts_than_there_are_is_an_error():
    with pytest.raises(ValueError, match='freeze_at 6; space "tiny" has 0 to 5'):
        DetNASNet("tiny", "01-23-01-23", freeze_at=6)


def test_the_fpn_pads_to_its_largest_stride_and_the_plain_network_needs_no_padding():
    model = build_model(config())
    assert model.backbone.size_divisibility == 32
    assert model.backbone.bottom_up.size_divisibility == 0
    model.eval()
    with torch.no_grad():
        model([{"image": torch.zeros(3, 71, 93, dtype=torch.uint8)}])
        features = model.backbone.bottom_up(torch.rand(1, 3, 71, 93, device=DEVICE))
    assert [tuple(f.shape[2:]) for f in features.values()] == [(18, 24), (9, 12), (5, 6), (3, 3)]
