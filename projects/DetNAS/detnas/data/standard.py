"""
The standard data by name: Detectron2's names and, of the same files, those that DetNAS needs besides. All lie under the
folder that the environment variable ``DETECTRON2_DATASETS`` names, "datasets" if it is not set:

    imagenet_train, imagenet_val                        imagenet/train, imagenet/val: a folder of images for each class
    imagenet_train_search, imagenet_train_holdout       imagenet_train in two parts
    coco_2017_train_search, coco_2017_train_holdout     coco_2017_train in two parts
    voc_0712_trainval                                   voc_2007_trainval and voc_2012_trainval joined
    voc_0712_trainval_search, voc_0712_trainval_holdout the same in two parts
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

#: what final figures are measured on
TEST_SETS = ("imagenet_val", "coco_2017_val", "voc_2007_test")

#: Name -> part of another data set: what a search of the paper's size holds out; of less data a third at most.
STANDARD_PARTS = {
    f"{whole}_{called}": f"{part}:{count}:{whole}"
    for whole, count in (("imagenet_train", 50_000), ("coco_2017_train", 5000), ("voc_0712_trainval", 5000))
    for called, part in (("search", "rest"), ("holdout", "holdout"))
}
_FOLDERS = {"imagenet_train": "imagenet/train", "imagenet_val": "imagenet/val"}
#: name -> json file and image folder, in "coco"
_COCO = {f"coco_2017_{s}": (f"annotations/instances_{s}2017.json", f"{s}2017") for s in ("train", "val")}
#: name -> folders and split
_VOC = {
    "voc_2007_trainval": (["VOC2007"], "trainval"),
    "voc_2007_test": (["VOC2007"], "test"),
    "voc_2012_trainval": (["VOC2012"], "trainval"),
    "voc_0712_trainval": (["VOC2007", "VOC2012"], "trainval"),
}


def datasets_root():
    """The folder in which the standard data lies."""
    return os.path.expanduser(os.environ.get("DETECTRON2_DATASETS") or "datasets")


def require(path, name, layout=None):
    """Raise a UserError, naming the data set, if a path of it does not exist; standard data has one of ``LAYOUTS``."""
    if PathManager.exists(path):
        return
    if layout is not None:
        where = f"{datasets_root()}, the folder that the environment variable DETECTRON2_DATASETS names"
        raise UserError(f'data set "{name}": {path} does not exist; expected in {where}: {LAYOUTS[layout]}')
    hint = "; `make demo` generates it" if "toy" in path.split("/") else ""
    raise UserError(f'data set "{name}": {path} does not exist{hint}')


def register(name, images, **metadata):
    """Register dataset dicts under a name, also in place of what has it: of Detectron2, or with other classes."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: list(images))
    MetadataCatalog.get(name).set(**metadata)


def class_folder(name):
    """Folder of a standard classification set; None for other names."""
    if name not in _FOLDERS:
        return None
    folder = os.path.join(datasets_root(), _FOLDERS[name])
    require(folder, name, "imagenet")
    return folder


def register_standard(name):
    """
    Register a standard detection set, and check that it is there; names that are none are left alone.

    The images are not checked one by one, as those of own data are: it takes minutes, and they are known to be sound.
    """
    root = datasets_root()
    if name in _COCO:
        json_file, images = (os.path.join(root, "coco", path) for path in _COCO[name])
        for path in (images, json_file):
            require(path, name, "coco")
    elif name in _VOC:
        folders, split = _VOC[name]
        for folder in folders:
            for path in ("Annotations", "JPEGImages", "ImageSets/Main", f"ImageSets/Main/{split}.txt"):
                require(os.path.join(root, folder, path), name, "voc")
        if not MetadataCatalog.get(name).get("joined"):
            _register_joined(name, [os.path.join(root, folder) for folder in folders], split)


def _register_joined(name, folders, split):
    """Also in place of what Detectron2 registers, whose evaluation would read the files once more."""
    parts = [read_voc(folder, split, CLASS_NAMES) for folder in folders]
    images = [{**image, "image_id": number} for number, image in enumerate((i for p in parts for i in p.images), 1)]
    # What is held out is measured like test2007, for which it stands in the search.
    year = 2012 if folders[0].endswith("2012") else 2007
    register(name, images, thing_classes=list(CLASS_NAMES), year=year, joined=True, evaluator_type="pascal_voc")
