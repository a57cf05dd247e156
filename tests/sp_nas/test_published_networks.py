"""The zoo of SP-NAS: networks by name, what a config makes of a name, and the configs that train them in full."""

import runpy
from pathlib import Path

import pytest
from detectron2.modeling import build_model

import detnas.zoo
import spnas
from detnas.config.load import load_config
from detnas.cost.detector import backbone_costs
from detnas.cost.flops import shapes_alone
from detnas.errors import UserError
from spnas.code import ParallelCode
from spnas.zoo import PUBLISHED, table

#: name: block, depths and copies of the stages, doublings, as the sources have them
FACTS = {
    "SPNet-XB-COCO": ("32x4d", (4, 5, 25, 3, 1), (1, 0, 2, 1, 2), 3),
    "SPNet-ECP": ("bottleneck", (8, 5, 3, 4, 4), (0, 0, 2, 0, 3), 3),
}
NEITHER = "is no code and no published network; those are: SPNet-XB-COCO, SPNet-ECP"
SETTINGS = ("CODE", "BLOCK", "STEM", "SHORTCUT")
CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "SPNAS"
CODES = {"coco": "SPNet-XB-COCO", "ecp": "SPNet-ECP"}
DETECTORS = {f"{data}_spnet_{head}": name for data, name in CODES.items() for head in ("fpn", "cascade")}


def load(name):
    return load_config(str(CONFIGS / f"{name}.yaml"))


def config(name, *opts):
    return load_config("", ["MODEL.BACKBONE.NAME", "build_spnas_fpn_backbone", "MODEL.SPNAS.CODE", name, *opts])


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_is_that_of_its_sources_with_the_counted_figures_of_its_backbone(name):
    network, code = PUBLISHED[name], ParallelCode.parse(PUBLISHED[name].code)
    assert (network.block, code.serial.depths, code.counts, code.serial.doublings) == FACTS[name]
    assert (network.stem, network.shortcut) == ("3x3", "projection")
    counted = backbone_costs(config(name))
    assert counted == {"flops": PUBLISHED[name].flops, "params": PUBLISHED[name].params}


@pytest.mark.parametrize("name", FACTS)
def test_it_is_built_by_name_and_a_config_gets_all_that_makes_it_also_when_it_is_saved(name, tmp_path):
    network = spnas.build_published(name, out_features=["res3"], norm="GN")
    assert str(network.code) == PUBLISHED[name].code and list(network.output_shape()) == ["res3"]
    assert type(network.res2[0].conv1.norm).__name__ == "GroupNorm"
    cfg = config(name, "MODEL.SPNAS.BLOCK", "basic", "MODEL.SPNAS.NORM", "BN", "MODEL.SPNAS.TIED", "False")
    network, found = PUBLISHED[name], cfg.MODEL.SPNAS
    assert [found[key] for key in SETTINGS] == [network.code, network.block, "3x3", "projection"]
    assert (found.NORM, found.TIED, found.BASE_WIDTH) == ("BN", False, 64)
    assert cfg.MODEL.RPN.IN_FEATURES == ["p2", "p3", "p4", "p5", "p6", "p7"]
    (tmp_path / "saved.yaml").write_text(cfg.dump())
    assert "SPNet" not in (tmp_path / "saved.yaml").read_text()
    loaded = load_config(str(tmp_path / "saved.yaml")).MODEL
    assert loaded.SPNAS == cfg.MODEL.SPNAS and loaded.RPN == cfg.MODEL.RPN


def test_an_unknown_name_is_one_sentence_with_the_known_ones():
    for build, where in ((spnas.build_published, ""), (config, "MODEL.SPNAS.CODE: ")):
        with pytest.raises(UserError) as e:
            build("spnet-ecp")
        assert str(e.value) == f'{where}"spnet-ecp" {NEITHER}'


@pytest.mark.filterwarnings("ignore:'spnas.zoo' found in sys.modules")
def test_the_tables_of_both_methods_say_whose_every_figure_is(capsys):
    text = table()
    lines = [line.split() for line in text.splitlines()]
    assert ["SPNet-XB-COCO", "COCO", "AP", "49.1", "G"] in lines
    assert ["SPNet-ECP", "EuroCityPersons", "LAMR,", "reasonable", "0.055", "P,", "0.042", "G"] in lines
    assert ["SPNet-ECP", "bottleneck", "20134.7", "67.44", PUBLISHED["SPNet-ECP"].code] in lines
    assert "P: the paper, G: a table that its group gave out with code; none of it was measured here." in text
    runpy.run_module("spnas.zoo", run_name="__main__")
    assert capsys.readouterr().out == f"{detnas.zoo.table()}\n\n{text}\n"


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request):
    """Name, config and model on the meta device."""
    cfg = load(request.param)
    cfg.MODEL.DEVICE = "meta"
    with shapes_alone():
        return request.param, cfg, build_model(cfg)


def test_it_is_the_published_network_with_six_levels_and_one_anchor_of_8_strides(detector):
    name, cfg, model = detector
    network = PUBLISHED[DETECTORS[name]]
    assert str(model.backbone.bottom_up.code) == network.code
    assert {key: cfg.MODEL.SPNAS[key.upper()] for key in network.settings} == network.settings
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
    with shapes_alone():
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


def test_the_cascade_has_the_published_number_of_parameters():
    cfg = load("ecp_spnet_cascade")
    cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.DEVICE = 1, "meta"
    with shapes_alone():
        counted = sum(p.numel() for p in build_model(cfg).parameters())
    published = PUBLISHED["SPNet-ECP"].figures["whole Cascade R-CNN, M params"]["G"]
    assert counted / 1e6 == pytest.approx(published, rel=0.012)
