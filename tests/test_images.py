"""The generated images of demo/images.py."""

import json
import math

import images
import numpy as np
import pytest
from PIL import Image
from toy_runs import tree

from detnas.data.coco import read_coco

#: set -> the same with few images
SMALL = {
    "toy": {"classification": {"train": 2, "val": 1}, "detection": {"train": 4, "val": 2, "test": 2}},
    "outlines": {"": {"train": 12, "val": 2, "test": 2}},
    "examples": {"large": {"train": 10, "test": 1}, "few": {"train": 3}},
}


@pytest.fixture
def small(monkeypatch):
    for name, counts in SMALL.items():
        monkeypatch.setitem(images.COUNTS, name, counts)


def objects(folder, split):
    """(size, annotations) of the images of a split."""
    data = json.loads((folder / f"{split}.json").read_text())
    for image in data["images"]:
        size = Image.open(folder / split / image["file_name"]).size
        assert size == (image["width"], image["height"])
        yield size, [ann for ann in data["annotations"] if ann["image_id"] == image["id"]]


@pytest.mark.parametrize("name", ["toy", "outlines"])
def test_the_same_seed_writes_the_same_files_and_another_one_other_images(small, tmp_path, name):
    for folder, seed in {"a": 3, "b": 3, "c": 4}.items():
        assert images.generate(name, str(tmp_path / folder), seed)
    a, b, c = (tree(tmp_path / folder) for folder in "abc")
    assert a == b and a.keys() == c.keys() and all(a[file] != c[file] for file in a)


def test_every_box_lies_inside_and_boxes_of_an_image_keep_apart(small, tmp_path, toy_root):
    images.generate("examples", str(tmp_path / "all"))
    large = list(objects(tmp_path / "all" / "large", "train"))
    assert [bool(annotations) for _, annotations in large] == [True] * 9 + [False]
    shapes = [image for split in ("train", "val", "test") for image in objects(toy_root / "detection", split)]
    assert all(annotations for _, annotations in shapes)
    for (width, height), annotations in large + shapes:
        covered = np.zeros((height, width), int)
        for x, y, w, h in (ann["bbox"] for ann in annotations):
            assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width and y + h <= height
            covered[y : y + h, x : x + w] += 1
        assert covered.max() <= 1


def test_the_classes_of_outlines_are_those_of_their_boxes(small, tmp_path):
    images.generate("outlines", str(tmp_path / "all"))
    clean = read_coco(str(tmp_path / "all" / "train.json"), str(tmp_path / "all" / "train"))
    assert clean.classes == images.RECTANGLES
    found = list(objects(tmp_path / "all", "train"))
    assert len(found) == 12 and all(annotations for _, annotations in found)
    for ann in (ann for _, annotations in found for ann in annotations):
        x, y, w, h = ann["bbox"]
        assert min(x, y) >= 0 and max(x + w, y + h) <= images.OUTLINES_SIZE
        ratio = math.log(w / h)
        shape = "wide" if ratio > 0.35 else "tall" if ratio < -0.35 else "square"
        assert clean.classes[ann["category_id"] - 1] == shape


def test_a_run_killed_in_the_middle_leaves_nothing_that_looks_complete(small, tmp_path, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(images, "write_coco", killed)
        with pytest.raises(KeyboardInterrupt):
            images.generate("toy", str(tmp_path / "toy"))
    assert not (tmp_path / "toy").exists()
    assert images.generate("toy", str(tmp_path / "toy")) and images.generate("toy", str(tmp_path / "again"))
    assert tree(tmp_path / "toy") == tree(tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "toy"]
    # What is there is left alone.
    (tmp_path / "toy" / "detection" / "train.json").write_text("mine")
    before = tree(tmp_path / "toy")
    assert not images.generate("toy", str(tmp_path / "toy"), seed=1) and tree(tmp_path / "toy") == before
