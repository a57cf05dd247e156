"""Pictures of archs."""

import re

import pytest

from detnas import SPACES
from detnas.report import archs
from detnas.report.command import main as report_command
from detnas.report.searches import search_labels
from detnas.space import OP_COLOURS, OPS, PAPER_OPS
from detnas.zoo import PUBLISHED


def test_every_published_network_can_be_drawn_without_a_log(tmp_path):
    file = tmp_path / "archs.svg"
    report_command(["--archs", *PUBLISHED, "0213-2130", "--out", str(file)])
    assert all(f"<!-- {name} -->" in file.read_text() for name in (*PUBLISHED, "0213-2130", *PAPER_OPS))


@pytest.mark.parametrize("word, name", [("01-23-01-23", "tiny"), ("0" * 20, "300M"), ("0" * 40, "1.3G")])
def test_an_arch_is_drawn_in_the_first_space_that_has_its_blocks_as_in_all_others(word, name):
    label, found, path = archs.named_arch(word)
    alike = [space.drawing(path) for space in SPACES.values() if space.num_blocks == len(path)]
    assert all(drawing == found.drawing(path) for drawing in alike)
    assert (label, found.name, len(path)) == (word, name, SPACES[name].num_blocks)


@pytest.mark.parametrize("flags, words", [
    (["--archs", "DetNAS-400M"], '"DetNAS-400M" is no arch and no published network'),
    (["--archs", "012"], 'arch "012" has 3 blocks'),
    (["--archs", "0" * 19 + "7"], "7 at stage4.3"),
    (["--archs", "0" * 20, "folder"], "no arch and no published network"),
    (["--archs", "no.yaml"], "no.yaml does not exist"),
])
def test_what_cannot_be_drawn_is_one_sentence(tmp_path, flags, words, refused):
    sentence = refused(report_command, [*flags, "--out", str(tmp_path / "archs.png")])
    assert words in sentence and list(tmp_path.iterdir()) == []


def test_a_config_tells_its_arch_and_a_space_of_ones_own(tmp_path, refused):
    own = "{STEM_CHANNELS: 16, STAGE_CHANNELS: [48, 96], STAGE_DEPTHS: [2, 2], OPS: [shufflenet_3x3, xception_3x3]}"
    file = tmp_path / "best.yaml"
    file.write_text(f"MODEL: {{DETNAS: {{SPACE: custom, ARCH: 01-10, CUSTOM_SPACE: {own}}}}}")
    label, space, path = archs.named_arch(str(file))
    assert (space.stage_depths, path) == ((2, 2), (0, 1, 1, 0)) and label == f"{file}\n01-10"
    report_command(["--archs", str(file), "--out", str(tmp_path / "own.svg")])
    assert (tmp_path / "own.svg").stat().st_size > 1000
    file.write_text("MODEL: {DETNAS: {SPACE: tiny, ARCH: 01-10}}")
    sentence = refused(report_command, ["--archs", str(file), "--out", str(tmp_path / "own.svg")])
    assert re.search("best.yaml: .*4 blocks", sentence)


def test_a_picture_has_the_format_of_its_ending(tmp_path, refused):
    for ending, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        report_command(["--archs", "ShuffleNetv2-20", "--out", str(tmp_path / f"a.{ending}")])
        assert (tmp_path / f"a.{ending}").read_bytes().startswith(start)
    sentence = refused(report_command, ["--archs", "ShuffleNetv2-20", "--out", str(tmp_path / "a.gif")])
    assert "must end in .png, .svg, .pdf" in sentence


def test_every_op_has_a_colour():
    assert set(OP_COLOURS) == set(OPS)


def test_folders_of_equal_name_are_told_apart(tmp_path):
    folders = ["a/run", "b/run/", "c"]
    assert search_labels(folders) == {"a/run": "a/run", "b/run/": "b/run", "c": "c"}
