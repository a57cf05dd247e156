"""
Registers standard data under Detectron2's names and the names below. The environment variable
``DETECTRON2_DATASETS`` names the folder of all data, by default "datasets":

    imagenet_train, imagenet_val    imagenet/train, imagenet/val: a folder of images for each class
    voc_0712_trainval               voc_2007_trainval and voc_2012_trainval joined
    NAME_search, NAME_holdout       two parts of NAME: imagenet_train, coco_2017_train or voc_0712_trainval
"""

import os

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.pascal_voc import CLASS_NAMES
from detectron2.utils.file_io import PathManager

from detnas.errors import UserError

from .voc import read_voc

LAYOUTS = {
    "imagenet": "imagenet/train/CLASS/*.JPEG and imagenet/val/CLASS/*.JPEG",
    "coco": "coco/annotations/instances_{train,val}2017.json, coco/train2017/*.jpg and coco/val2017/*.jpg",
    "voc": "VOC2007 and VOC2012, each with Annotations, ImageSets/Main and JPEGImages",
}

#: data sets of final results
TEST_SETS = ("imagenet_val", "coco_2017_val", "voc_2007_test")

#: name -> part of another data set. A search of the paper's size holds out this many images, at most a third.
STANDARD_PARTS = {
    f"{whole}_{called}": f"{part}:{count}:{whole}"
    for whole, count in (("imagenet_train", 50_000), ("coco_2017_train", 5000), ("voc_0712_trainval", 5000))
    for called, part in (("search", "rest"), ("holdout", "holdout"))
}
_FOLDERS = {"imagenet_train": "imagenet/train", "imagenet_val": "imagenet/val"}
#: name -> json file and image folder, both in "coco"
_COCO = {f"coco_2017_{s}": (f"annotations/instances_{s}2017.json", f"{s}2017") for s in ("train", "val")}
#: name -> folders and split
_VOC = {
    "voc_2007_trainval": (["VOC2007"], "trainval"),
    "voc_2007_test": (["VOC2007"], "test"),
    "voc_2012_trainval": (["VOC2012"], "trainval"),
    "voc_0712_trainval": (["VOC2007", "VOC2012"], "trainval"),
}


def datasets_root():
    return os.path.expanduser(os.environ.get("DETECTRON2_DATASETS") or "datasets")


def require(path, name, layout=None):
    """Raise a UserError if a path of data set ``name`` is missing. Standard data has a ``layout`` of ``LAYOUTS``."""
    if PathManager.exists(path):
        return
    if layout is not None:
        where = f"{datasets_root()}, the folder that the environment variable DETECTRON2_DATASETS names"
        raise UserError(f'data set "{name}": {path} does not exist; expected in {where}: {LAYOUTS[layout]}')
    hint = "; `python demo/images.py toy` generates it" if "toy" in path.split("/") else ""
    raise UserError(f'data set "{name}": {path} does not exist{hint}')


def register(name, images, **metadata):
    """Register dataset dicts under a name. They replace a data set of this name."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: list(images))
    MetadataCatalog.get(name).set(**metadata)


def class_folder(name):
    """Return the folder of a standard classification set, None for other names. Raises a UserError if it is missing."""
    if name not in _FOLDERS:
        return None
    folder = os.path.join(datasets_root(), _FOLDERS[name])
    require(folder, name, "imagenet")
    return folder


def register_standard(name):
    """Register ``name`` if it is a standard detection set, without image checks. Raises a UserError if missing."""
    root = datasets_root()
    if name in _COCO:
        json_file, images = (os.path.join(root, "coco", path) for path in _COCO[name])
        for path in (images, json_file):  # not each image: that takes minutes, and they are known to be sound
            require(path, name, "coco")
    elif name in _VOC:
        folders, split = _VOC[name]
        for folder in folders:
            for path in ("Annotations", "JPEGImages", "ImageSets/Main", f"ImageSets/Main/{split}.txt"):
                require(os.path.join(root, folder, path), name, "voc")
        if not MetadataCatalog.get(name).get("joined"):
            _register_joined(name, [os.path.join(root, folder) for folder in folders], split)


def _register_joined(name, folders, split):
    """Register folders as one data set, also instead of Detectron2's, whose evaluation reads the files again."""
    parts = [read_voc(folder, split, CLASS_NAMES) for folder in folders]
    images = [{**image, "image_id": number} for number, image in enumerate((i for p in parts for i in p.images), 1)]
    year = 2012 if folders[0].endswith("2012") else 2007  # held-out images stand for test2007 in a search
    register(name, images, thing_classes=list(CLASS_NAMES), year=year, joined=True, evaluator_type="pascal_voc")
