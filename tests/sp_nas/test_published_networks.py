"""The zoo of SP-NAS: networks by name, and what a config makes of a name."""

import runpy

import pytest
import yaml

import detnas.zoo
import spnas
from detnas.config.load import load_config
from detnas.cost.detector import backbone_costs
from detnas.errors import UserError
from spnas.code import ParallelCode
from spnas.zoo import PUBLISHED, table

#: name: block, depths and copies of the stages, doublings, as the sources have them
FACTS = {
    "SPNet-XB-COCO": ("32x4d", (4, 5, 25, 3, 1), (1, 0, 2, 1, 2), 3),
    "SPNet-ECP": ("bottleneck", (8, 5, 3, 4, 4), (0, 0, 2, 0, 3), 3),
}
SETTINGS = ("CODE", "BLOCK", "STEM", "SHORTCUT")


def config(name, *opts):
    return load_config("", ["MODEL.BACKBONE.NAME", "build_spnas_fpn_backbone", "MODEL.SPNAS.CODE", name, *opts])


def test_the_zoo_holds_the_published_networks_and_no_other():
    assert set(PUBLISHED) == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
def test_a_published_network_is_that_of_its_sources(name):
    network, code = PUBLISHED[name], ParallelCode.parse(PUBLISHED[name].code)
    assert (network.block, code.serial.depths, code.counts, code.serial.doublings) == FACTS[name]
    assert (network.stem, network.shortcut) == ("3x3", "projection")


@pytest.mark.parametrize("name", FACTS)
def test_its_counted_figures_are_those_of_its_backbone(name):
    counted = backbone_costs(config(name))
    assert counted == {"flops": PUBLISHED[name].flops, "params": PUBLISHED[name].params}


@pytest.mark.parametrize("name", FACTS)
def test_it_is_built_by_name(name):
    network = spnas.build_published(name, out_features=["res3"], norm="GN")
    assert str(network.code) == PUBLISHED[name].code
    assert list(network.output_shape()) == ["res3"]
    assert type(network.res2[0].conv1.norm).__name__ == "GroupNorm"


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(UserError) as e:
        spnas.build_published("SPNet")
    assert e.value.args[0] == 'unknown network "SPNet"; there are: SPNet-XB-COCO, SPNet-ECP'


@pytest.mark.parametrize("name", FACTS)
def test_a_name_in_a_config_becomes_its_code_and_all_that_makes_the_network(name):
    cfg = config(name, "MODEL.SPNAS.BLOCK", "basic", "MODEL.SPNAS.NORM", "BN", "MODEL.SPNAS.TIED", "False")
    network, found = PUBLISHED[name], cfg.MODEL.SPNAS
    assert [found[key] for key in SETTINGS] == [network.code, network.block, "3x3", "projection"]
    assert (found.NORM, found.TIED, found.BASE_WIDTH) == ("BN", False, 64)
    assert cfg.MODEL.RPN.IN_FEATURES == ["p2", "p3", "p4", "p5", "p6", "p7"]


def test_a_config_that_was_saved_is_the_same_network(tmp_path):
    cfg = config("SPNet-ECP")
    (tmp_path / "saved.yaml").write_text(cfg.dump())
    assert "SPNet" not in (tmp_path / "saved.yaml").read_text()
    loaded = load_config(str(tmp_path / "saved.yaml"))
    assert loaded.MODEL.SPNAS == cfg.MODEL.SPNAS and loaded.MODEL.RPN == cfg.MODEL.RPN


def test_a_name_stands_in_a_file_too(tmp_path):
    settings = {"BACKBONE": {"NAME": "build_spnas_classifier_backbone"}, "SPNAS": {"CODE": "SPNet-XB-COCO"}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"MODEL": settings}))
    assert load_config(str(tmp_path / "a.yaml")).MODEL.SPNAS.BLOCK == "32x4d"


@pytest.mark.parametrize("name", ["SPNet", "spnet-ecp", "ResNet-50"])
def test_an_unknown_name_in_a_config_is_one_sentence_with_the_known_ones(name):
    with pytest.raises(ValueError) as e:
        config(name)
    known = "SPNet-XB-COCO, SPNet-ECP"
    assert str(e.value) == f'MODEL.SPNAS.CODE "{name}" is no code and no published network; those are: {known}'


def test_the_table_says_whose_every_figure_is():
    text = table()
    lines = [line.split() for line in text.splitlines()]
    assert ["SPNet-XB-COCO", "COCO", "AP", "49.1", "G"] in lines
    assert ["SPNet-ECP", "EuroCityPersons", "LAMR", "0.055", "P"] in lines
    assert ["SPNet-ECP", "bottleneck", "20134.7", "67.44", PUBLISHED["SPNet-ECP"].code] in lines
    assert "P: the paper, G: a table that its group gave out with code; none of it was measured here." in text


@pytest.mark.filterwarnings("ignore:'spnas.zoo' found in sys.modules")
def test_the_module_prints_the_networks_of_both_methods(capsys):
    runpy.run_module("spnas.zoo", run_name="__main__")
    assert capsys.readouterr().out == f"{detnas.zoo.table()}\n\n{table()}\n"
