"""The Python snippets of the package's guide run, one after the other; test_docs.py runs those of the other pages."""

import doc_pages
import pytest
from base_rcnn_fpn import BASE_RCNN_FPN
from doc_pages import GUIDE, snippets


@pytest.fixture
def guide_folder(tmp_path, monkeypatch):
    """A folder with the yaml files of the guide and Detectron2's base config."""
    doc_pages.write_yaml(GUIDE, tmp_path)
    (tmp_path / "Base-RCNN-FPN.yaml").write_text(BASE_RCNN_FPN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_guide_has_snippets_of_both_kinds():
    assert len(snippets(GUIDE, "python")) >= 5 and len(snippets(GUIDE, "yaml")) >= 2


def test_the_snippets_of_the_guide_run_in_their_order(guide_folder):
    names = doc_pages.run_snippets(GUIDE)
    assert type(names["model"]).__name__ == "GeneralizedRCNN"
    assert names["fpn"].output_shape()["p2"].stride == 4
    assert names["space"].num_blocks == 20
