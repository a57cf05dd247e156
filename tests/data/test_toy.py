import json

import numpy as np
import pytest
from PIL import Image
from toy_runs import tree

from detnas.data import toy
from detnas.data.datasets import check_coco_json


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(toy, "CLASSIFICATION", {"train": 2, "val": 1})
    monkeypatch.setattr(toy, "DETECTION", {"train": 4, "val": 2, "test": 2})


def objects(root, split):
    """(image, annotations of it) of a split."""
    data = json.loads((root / "detection" / f"{split}.json").read_text())
    for image in data["images"]:
        yield image, [ann for ann in data["annotations"] if ann["image_id"] == image["id"]]


def test_the_same_seed_writes_the_same_files_and_another_one_other_images(small, tmp_path):
    assert toy.generate(str(tmp_path / "a"), seed=3) and toy.generate(str(tmp_path / "b"), seed=3)
    toy.generate(str(tmp_path / "c"), seed=4)
    a, b, c = (tree(tmp_path / name) for name in "abc")
    assert a == b and a.keys() == c.keys() and all(a[name] != c[name] for name in a)


def test_every_split_has_its_number_of_images(small, tmp_path):
    toy.generate(str(tmp_path / "toy"))
    for split, count in toy.CLASSIFICATION.items():
        folders = sorted((tmp_path / "toy" / "classification" / split).iterdir())
        assert [folder.name for folder in folders] == sorted(toy.CLASSES)
        assert [len(list(folder.iterdir())) for folder in folders] == [count] * len(toy.CLASSES)
    for split, count in toy.DETECTION.items():
        assert len(list((tmp_path / "toy" / "detection" / split).iterdir())) == count


def test_splits_share_no_image(toy_root):
    images = list(tree(toy_root / "detection").items())
    pictures = [content for name, content in images if name.endswith(".jpg")]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_image_has_objects_and_every_box_lies_inside(toy_root, split):
    for image, annotations in objects(toy_root, split):
        assert annotations
        size = Image.open(toy_root / "detection" / split / image["file_name"]).size
        assert size == (image["width"], image["height"])
        for x, y, w, h in (ann["bbox"] for ann in annotations):
            assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= size[0] and y + h <= size[1]


def test_boxes_of_an_image_keep_apart(toy_root):
    for image, annotations in objects(toy_root, "train"):
        covered = np.zeros((image["height"], image["width"]), int)
        for x, y, w, h in (ann["bbox"] for ann in annotations):
            covered[y : y + h, x : x + w] += 1
        assert covered.max() == 1


def test_the_json_is_sound_and_names_the_classes(toy_root):
    folder = toy_root / "detection"
    assert check_coco_json(str(folder / "train.json"), str(folder / "train")) == list(toy.CLASSES)


def test_a_shape_is_seen_in_its_box():
    rng = np.random.default_rng(0)
    for shape in toy.CLASSES:
        image = toy.background(64, rng)
        before = image.copy()
        alpha = toy.mask(shape, 30, rng)
        toy.paint(image, shape, alpha, 10, 20, rng)
        changed = np.argwhere((image != before).any(axis=2))
        h, w = alpha.shape
        assert (changed.min(axis=0) >= (20, 10)).all() and (changed.max(axis=0) < (20 + h, 10 + w)).all()
        assert (image[20 : 20 + h, 10 : 10 + w] != before[20 : 20 + h, 10 : 10 + w]).any(axis=2).mean() > 0.3


def test_what_is_there_is_left_alone(small, tmp_path):
    root = tmp_path / "toy"
    toy.generate(str(root))
    (root / "detection" / "train.json").write_text("mine")
    before = tree(root)
    assert not toy.generate(str(root), seed=1)
    assert tree(root) == before


def test_a_run_killed_in_the_middle_leaves_nothing_that_looks_complete(small, tmp_path, monkeypatch):
    def killed(root, rng):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(toy, "generate_detection", killed)
        with pytest.raises(KeyboardInterrupt):
            toy.generate(str(tmp_path / "toy"))
    assert not (tmp_path / "toy").exists()
    assert toy.generate(str(tmp_path / "toy")) and toy.generate(str(tmp_path / "again"))
    assert tree(tmp_path / "toy") == tree(tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "toy"]
