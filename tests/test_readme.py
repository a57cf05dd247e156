"""The Python snippets of the pages run, those of a page one after the other."""

import doc_pages
import pytest
from base_rcnn_fpn import BASE_RCNN_FPN
from doc_pages import PAGES, snippets

GUIDE = "projects/DetNAS/README.md"


def run_snippets(page, folder, monkeypatch):
    """What the snippets of a page define, run in a folder with its yaml files and Detectron2's base config."""
    doc_pages.write_yaml(page, folder)
    (folder / "Base-RCNN-FPN.yaml").write_text(BASE_RCNN_FPN)
    monkeypatch.chdir(folder)
    names = {}
    for text in snippets(page, "python"):
        exec(compile(text, page, "exec"), names)
    return names


def test_the_guide_has_snippets_of_both_kinds():
    assert len(snippets(GUIDE, "python")) >= 5 and len(snippets(GUIDE, "yaml")) >= 2


def test_the_snippets_of_the_guide_run_in_their_order(tmp_path, monkeypatch):
    names = run_snippets(GUIDE, tmp_path, monkeypatch)
    assert type(names["model"]).__name__ == "GeneralizedRCNN"
    assert names["fpn"].output_shape()["p2"].stride == 4
    assert names["space"].num_blocks == 20


@pytest.mark.parametrize("page", [page for page in PAGES if page != GUIDE and snippets(page, "python")])
def test_the_snippets_of_a_page_run_in_their_order(page, tmp_path, monkeypatch):
    assert run_snippets(page, tmp_path, monkeypatch)
