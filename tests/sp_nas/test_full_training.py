"""The configs that train the published networks in full: what follows from the published recipe."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

from detnas.config.load import load_config
from spnas.zoo import PUBLISHED

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "SPNAS"
DETECTORS = {
    "coco_spnet_fpn": "SPNet-XB-COCO",
    "coco_spnet_cascade": "SPNet-XB-COCO",
    "ecp_spnet_fpn": "SPNet-ECP",
    "ecp_spnet_cascade": "SPNet-ECP",
}


def load(name):
    return load_config(str(CONFIGS / f"{name}.yaml"))


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request):
    """Name, config and model on the meta device."""
    cfg = load(request.param)
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        return request.param, cfg, build_model(cfg)


def test_it_is_the_published_network(detector):
    name, cfg, model = detector
    network, body = PUBLISHED[DETECTORS[name]], model.backbone.bottom_up
    assert str(body.code) == network.code
    assert {key: cfg.MODEL.SPNAS[key.upper()] for key in network.settings} == network.settings


def test_it_has_six_levels_with_one_anchor_of_8_strides(detector):
    _, cfg, model = detector
    strides = [shape.stride for shape in model.backbone.output_shape().values()]
    assert strides == [4, 8, 16, 32, 64, 128]
    assert cfg.MODEL.ANCHOR_GENERATOR.SIZES == [[8 * stride] for stride in strides]
    assert len(cfg.MODEL.ROI_HEADS.IN_FEATURES) == 5


def test_the_stem_is_frozen_and_all_norms_behind_it_are_trained(detector):
    _, _, model = detector
    body = model.backbone.bottom_up
    trained = {name: p.requires_grad for name, p in body.named_parameters()}
    assert all(name.startswith("stem.") != requires_grad for name, requires_grad in trained.items())
    assert any(name.startswith("res2.") and "norm" in name for name in trained)


def test_a_detector_starts_from_the_same_network_as_a_classifier(detector):
    _, cfg, model = detector
    pretrained = load(Path(cfg.MODEL.WEIGHTS).parent.name)
    assert pretrained.OUTPUT_DIR == str(Path(cfg.MODEL.WEIGHTS).parent)
    with torch.device("meta"):
        pretrained.MODEL.DEVICE = "meta"
        classifier = build_model(pretrained)
    # A frozen norm does not count batches.
    ours, theirs = (
        {n: v.shape for n, v in m.backbone.bottom_up.state_dict().items() if not n.endswith("num_batches_tracked")}
        for m in (model, classifier)
    )
    assert ours == theirs


@pytest.mark.parametrize(
    "name, images, epochs, falls", [("coco_spnet_fpn", 117266, 24, (16, 21)), ("ecp_spnet_fpn", 23892, 26, (20, 23))]
)
def test_iterations_are_those_of_the_epochs(name, images, epochs, falls):
    solver = load(name).SOLVER
    batches = images / solver.IMS_PER_BATCH
    # Detectron2's rounding of COCO's epochs, 90000 for 12 of batches of 16, is 2% off.
    assert solver.MAX_ITER / batches == pytest.approx(epochs, rel=0.025)
    assert [step / batches for step in solver.STEPS] == pytest.approx(falls, rel=0.04)
    assert solver.IMS_PER_BATCH == solver.REFERENCE_WORLD_SIZE


@pytest.mark.parametrize("data, size", [("coco", (1280, 1280)), ("ecp", (1024, 1920))])
def test_images_have_the_published_size(data, size):
    for head in ("fpn", "cascade"):
        found = load(f"{data}_spnet_{head}").INPUT
        assert (found.MIN_SIZE_TEST, found.MAX_SIZE_TEST) == size
        if data == "coco":
            assert (tuple(found.SCALE_JITTER.SIZE), tuple(found.SCALE_JITTER.RANGE)) == (size, (0.8, 1.2))
        else:
            assert not found.SCALE_JITTER.SIZE and (*found.MIN_SIZE_TRAIN, found.MAX_SIZE_TRAIN) == size


def test_the_cascade_has_the_published_number_of_parameters():
    cfg = load("ecp_spnet_cascade")
    cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.DEVICE = 1, "meta"
    with torch.device("meta"):
        counted = sum(p.numel() for p in build_model(cfg).parameters())
    published = PUBLISHED["SPNet-ECP"].figures["whole Cascade R-CNN, M params"]["G"]
    assert counted / 1e6 == pytest.approx(published, rel=0.012)
