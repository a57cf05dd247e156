import runpy

import pytest

from detnas import PUBLISHED, CostTable, build_published, get_space
from detnas.errors import UserError
from detnas.zoo import table

#: Released model table and paper; the baselines choose op 0 everywhere.
FACTS = {
    "DetNAS-COCO-FPN-300M": ("300M", "2120 2112 33130031 3132"),
    "DetNAS-COCO-RetinaNet-300M": ("300M", "2311 3213 31113320 3333"),
    "DetNAS-VOC-FPN-300M": ("300M", "2103 1303 20113333 3331"),
    "DetNAS-VOC-RetinaNet-300M": ("300M", "1300 2333 23333220 2311"),
    "DetNASNet-1.3G": ("1.3G", "00312102 03123320 2113202221310333 13333333"),
    "DetNASNet-3.8G": ("3.8G", "00312102 03123320 2113202221310333 13333333"),
    "ShuffleNetv2-20": ("300M", "0" * 20),
    "ShuffleNetv2-40": ("1.3G", "0" * 40),
    "ShuffleNetv2-40-3.8G": ("3.8G", "0" * 40),
    "ShuffleNetv2-40-wide": ("1.3G-wide", "0" * 40),
    "ShuffleNetv2-40-3.8G-wide": ("3.8G-wide", "0" * 40),
}


def test_the_zoo_holds_the_published_networks_and_no_other():
    found = {name: (network.space, network.arch.replace("-", "")) for name, network in PUBLISHED.items()}
    assert found == {name: (space, arch.replace(" ", "")) for name, (space, arch) in FACTS.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_is_built_by_name_and_has_its_counted_figures(name):
    built, network, space = build_published(name), PUBLISHED[name], get_space(PUBLISHED[name].space)
    assert (built.space, space.format(built.path), built.shuffle) == (space, network.arch, "even_odd")
    costs = CostTable.measure(space)
    assert (network.flops, network.params) == (costs.flops(built.path), costs.params(built.path))


def test_keyword_arguments_reach_the_published_network():
    network = build_published("ShuffleNetv2-20", shuffle="interleave", out_features=["stage3"])
    assert network.shuffle == "interleave" and list(network.output_shape()) == ["stage3"]


def test_an_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(UserError) as e:
        build_published("DetNASNet")
    assert e.value.args[0] == f'unknown network "DetNASNet"; there are: {", ".join(PUBLISHED)}'


@pytest.mark.parametrize("size", ["1.3G", "3.8G"])
def test_the_wide_baseline_has_the_multiply_adds_of_detnasnet(size):
    """Paper, Table 2; the widths are ours, in the proportions of DetNASNet's."""
    baseline = PUBLISHED["ShuffleNetv2-40-wide" if size == "1.3G" else "ShuffleNetv2-40-3.8G-wide"]
    assert baseline.flops == pytest.approx(PUBLISHED[f"DetNASNet-{size}"].flops, rel=2e-3)
    narrow, wide = get_space(size), get_space(baseline.space)
    widths = [(space.stem_channels, *space.stage_channels) for space in (narrow, wide)]
    factors = [b / a for a, b in zip(*widths)]
    assert max(factors) / min(factors) < 1.03


def test_the_table_of_the_zoo_says_whose_every_figure_is():
    text = table()
    (line,) = [line for line in text.splitlines() if line.startswith("DetNAS-COCO-RetinaNet-300M  300M")]
    assert line.split()[2:] == ["291.2", "2.04", "26.0", "R", "33.3", "P,", "34.1", "R"]
    assert "P: the paper, R: the model table of the released code" in text
    assert all(network.arch in text for network in PUBLISHED.values())


@pytest.mark.filterwarnings("ignore:'detnas.zoo' found in sys.modules")
def test_the_zoo_is_printed_by_its_module(capsys):
    runpy.run_module("detnas.zoo", run_name="__main__")
    assert capsys.readouterr().out == table() + "\n"
