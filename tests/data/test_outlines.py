import json
import math

import numpy as np
import pytest
from toy_runs import tree

from detnas.data import outlines
from detnas.data.datasets import check_coco_json


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(outlines, "IMAGES", {"train": 12, "val": 2, "test": 2})


def test_the_same_seed_writes_the_same_files(small, tmp_path):
    assert outlines.generate(str(tmp_path / "a"), seed=3) and outlines.generate(str(tmp_path / "b"), seed=3)
    outlines.generate(str(tmp_path / "c"), seed=4)
    assert tree(tmp_path / "a") == tree(tmp_path / "b") != tree(tmp_path / "c")
    assert not outlines.generate(str(tmp_path / "a"), seed=4)


def test_the_json_is_sound_and_its_classes_are_those_of_the_boxes(small, tmp_path):
    outlines.generate(str(tmp_path / "all"))
    file = tmp_path / "all" / "train.json"
    assert check_coco_json(str(file), str(tmp_path / "all" / "train")) == list(outlines.CLASSES)
    data = json.loads(file.read_text())
    assert {ann["image_id"] for ann in data["annotations"]} == set(range(1, 13))
    for ann in data["annotations"]:
        x, y, w, h = ann["bbox"]
        assert min(x, y) >= 0 and max(x + w, y + h) <= outlines.SIZE
        ratio = math.log(w / h)
        shape = outlines.CLASSES[ann["category_id"] - 1]
        assert shape == ("wide" if ratio > 0.35 else "tall" if ratio < -0.35 else "square")


def test_the_inside_of_an_outline_is_what_lies_below():
    rng = np.random.default_rng(0)
    below = np.full((outlines.SIZE, outlines.SIZE, 3), 100.0)
    drawn = outlines.outline(below, (10, 20, 40, 30), rng)
    changed = (drawn != below).any(axis=2)
    assert changed[20:22, 10:50].all() and changed[20:50, 10:12].all()
    assert not changed[23:47, 13:47].any() and not changed[:20].any() and not changed[:, 50:].any()
