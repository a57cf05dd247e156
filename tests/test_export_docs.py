"""The snippets of docs/winner.md and its commands that export and draw, as they stand there."""

import json
import shutil
import subprocess
import sys

import doc_pages
import pytest
import torch
from export_runs import demo, tool
from scripts import ROOT

from detnas.export import check

pytest_plugins = ["export_fixtures"]
PAGE = "docs/winner.md"
SCRIPTS = {"tools/export_model.py": tool, "demo/predict.py": demo}
#: run in a process of its own after the snippets without Detectron2
TAIL = """
import json
import sys
assert not {"detnas", "detectron2"} & set(sys.modules)
print(json.dumps([x.tolist() for x in (boxes, scores, classes)]))
"""


@pytest.fixture(scope="module")
def project(searched_supernet, toy_root, tmp_path_factory):
    """A folder with what the demo leaves behind, in small."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "configs").symlink_to(ROOT / "configs")
    (folder / "datasets").mkdir()
    (folder / "datasets" / "toy").symlink_to(toy_root)
    shutil.copytree(searched_supernet, folder / "output" / "demo" / "2_supernet")
    (folder / "output" / "demo" / "4_retrain").mkdir()
    shutil.copy(searched_supernet / "best.pth", folder / "output" / "demo" / "4_retrain" / "model_final.pth")
    (folder / "photos").mkdir()
    shutil.copy(toy_root / "detection" / "val" / "00001.jpg", folder / "photos" / "a.jpg")
    return folder


@pytest.fixture(scope="module")
def followed(project):
    """The folder after all commands of the page."""
    commands = [c.words[1:] for c in doc_pages.commands(PAGE) if c.text.startswith(("python tools/", "python demo/"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setattr(check, "NUM_IMAGES", 2)
        for name, *args in commands:
            SCRIPTS[name].main(SCRIPTS[name].parser().parse_args(args))
    assert len(commands) >= 6
    return project


def test_the_commands_of_the_page_leave_what_it_says(followed):
    assert {f.name for f in (followed / "output/demo/4_retrain/export").iterdir()} == {
        "model.yaml", "model.pth", "detector.ts", "detector.onnx", "detector.json", "detect.py", "backbone.onnx"
    }
    assert (followed / "output/demo/2_supernet/export/model.yaml").is_file()
    assert (followed / "untrained/model.yaml").read_text().startswith("# RANDOM WEIGHTS")
    assert {f.name for f in (followed / "drawn").iterdir()} == {"a.jpg", "detections.json"}
    assert len(list((followed / "drawn2").iterdir())) == 6


def test_the_snippets_give_equal_detections_in_a_process_without_the_repository(followed, monkeypatch):
    detectron2, *others = doc_pages.snippets(PAGE, "python")
    code = "\n".join([*others, TAIL])
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=followed, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    boxes, scores, classes = map(torch.tensor, json.loads(run.stdout.splitlines()[-1]))

    monkeypatch.chdir(followed)
    exec(detectron2, names := {})
    found = names["found"]
    assert len(found) > 3
    torch.testing.assert_close(boxes, found.pred_boxes.tensor, atol=0.01, rtol=0)
    torch.testing.assert_close(scores, found.scores, atol=1e-4, rtol=0)
    assert torch.equal(classes, found.pred_classes)
