from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from detectron2.data.datasets.pascal_voc import CLASS_NAMES
from stand_in import WNIDS, use_root, write_coco, write_imagenet, write_voc

from detnas.data.datasets import register_dataset
from detnas.data.standard import datasets_root
from detnas.errors import UserError
from detnas.evaluation.evaluators import coco_form

THINGS = [category["name"] for category in COCO_CATEGORIES if category["isthing"]]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder of standard data."""
    use_root(monkeypatch, tmp_path)
    return tmp_path


def names(dataset):
    register_dataset(dataset)
    return [d["file_name"] for d in DatasetCatalog.get(dataset)]


def message(name):
    with pytest.raises(UserError) as caught:
        register_dataset(name)
    return str(caught.value)


def test_the_root_is_datasets_unless_the_environment_names_another(monkeypatch):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert datasets_root() == "datasets"
    monkeypatch.setenv("DETECTRON2_DATASETS", "~/data")
    assert datasets_root() == str(Path.home() / "data")


@pytest.mark.parametrize("split", ["train", "val"])
def test_imagenet_has_the_classes_of_its_folders(root, split):
    write_imagenet(root)
    assert register_dataset(f"imagenet_{split}") == list(WNIDS)
    images = DatasetCatalog.get(f"imagenet_{split}")
    assert [d["label"] for d in images] == [0] * 4 + [1] * 4 + [2] * 4
    assert MetadataCatalog.get(f"imagenet_{split}").evaluator_type == "classification"


def test_an_image_of_a_coco_part_is_the_same_as_in_the_whole(root):
    write_coco(root)
    whole, counts = {}, []
    for name in ("coco_2017_train", "coco_2017_train_search", "coco_2017_train_holdout"):
        assert register_dataset(name) == THINGS
        counts.append(len(DatasetCatalog.get(name)))
        for image in DatasetCatalog.get(name):
            # Detectron2 keeps the annotations in the order of the file.
            anns = sorted(image.pop("annotations"), key=str)
            assert whole.setdefault(image["image_id"], (image, anns)) == (image, anns)
    assert counts == [12, 8, 4] and len(whole) == 12
    # The metric compares with the same images, in parts of parts too.
    for name, count in (("coco_2017_train_search", 8), ("rest:2:coco_2017_train_search", 6)):
        register_dataset(name)
        there = {image["image_id"] for image in DatasetCatalog.get(name)}
        assert {image["id"] for image in coco_form(name)["images"]} == there and len(there) == count


def test_joined_voc_has_the_images_of_both_years_and_its_parts_are_the_whole(root):
    # It can be registered once it is there.
    assert "does not exist" in message("voc_0712_trainval")
    write_voc(root)
    assert register_dataset("voc_0712_trainval") == list(CLASS_NAMES)
    assert names("voc_0712_trainval") == names("voc_2007_trainval") + names("voc_2012_trainval")
    assert [d["image_id"] for d in DatasetCatalog.get("voc_0712_trainval")] == list(range(1, 17))
    search, holdout = names("voc_0712_trainval_search"), names("voc_0712_trainval_holdout")
    assert (len(search), len(holdout)) == (11, 5)
    assert sorted(search + holdout) == sorted(names("voc_0712_trainval"))


def test_detectron2s_own_names_say_their_classes_and_what_of_the_data_is_missing(root):
    write_coco(root)
    write_voc(root)
    assert register_dataset("coco_2017_train") == register_dataset("coco_2017_val") == THINGS
    for name in ("voc_2007_trainval", "voc_2012_trainval", "voc_2007_test"):
        assert register_dataset(name) == list(CLASS_NAMES)
    (root / "VOC2012").rename(root / "elsewhere")
    (root / "coco" / "annotations" / "instances_val2017.json").unlink()
    for name, file in (("voc_0712_trainval", "VOC2012/Annotations"),
                       ("coco_2017_val", "coco/annotations/instances_val2017.json")):
        assert f"{root}/{file} does not exist" in message(name)


@pytest.mark.parametrize("name, missing, layout", [
    ("imagenet_train", "imagenet/train", "imagenet/train/CLASS/*.JPEG"),
    ("imagenet_val", "imagenet/val", "imagenet/val/CLASS/*.JPEG"),
    ("coco_2017_train", "coco/train2017", "coco/annotations/instances_{train,val}2017.json"),
    ("coco_2017_val", "coco/val2017", "coco/val2017/*.jpg"),
    ("coco_2017_train_search", "coco/train2017", "coco/train2017/*.jpg"),
    ("voc_2007_trainval", "VOC2007/Annotations", "VOC2007 and VOC2012"),
    ("voc_2007_test", "VOC2007/Annotations", "VOC2007 and VOC2012"),
    ("voc_2012_trainval", "VOC2012/Annotations", "VOC2007 and VOC2012"),
    ("voc_0712_trainval", "VOC2007/Annotations", "VOC2007 and VOC2012"),
    ("voc_0712_trainval_holdout", "VOC2007/Annotations", "JPEGImages"),
])
def test_missing_data_says_where_it_is_expected(root, name, missing, layout):
    words = message(name)
    whole = name.removesuffix("_search").removesuffix("_holdout")
    assert words.startswith(f'data set "{whole}": {root}/{missing} does not exist; expected in {root}, the folder')
    assert "DETECTRON2_DATASETS" in words and layout in words
    assert name.startswith(("coco_2017_train", "coco_2017_val", "voc_2")) or name not in DatasetCatalog.list()
