import re
from pathlib import Path

import pytest
from base_rcnn_fpn import BASE_RCNN_FPN

GUIDE = Path(__file__).resolve().parents[1] / "projects" / "DetNAS" / "README.md"


def snippets(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.fixture
def guide_folder(tmp_path, monkeypatch):
    """A folder with the yaml files of the guide and Detectron2's base config."""
    for text in snippets("yaml"):
        (tmp_path / re.match(r"# (\S+\.yaml)\n", text)[1]).write_text(text)
    (tmp_path / "Base-RCNN-FPN.yaml").write_text(BASE_RCNN_FPN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_guide_has_snippets_of_both_kinds():
    assert len(snippets("python")) >= 5 and len(snippets("yaml")) >= 2


def test_the_snippets_of_the_guide_run_in_their_order(guide_folder):
    names = {}
    for text in snippets("python"):
        exec(compile(text, str(GUIDE), "exec"), names)
    assert type(names["model"]).__name__ == "GeneralizedRCNN"
    assert names["fpn"].output_shape()["p2"].stride == 4
    assert names["space"].num_blocks == 20
