"""
The standard data by name: Detectron2's names and, of the same files, those that DetNAS needs besides. All lie under the
folder that the environment variable ``DETECTRON2_DATASETS`` names, "datasets" if it is not set:

    imagenet_train, imagenet_val                        imagenet/train, imagenet/val: a folder of images for each class
    imagenet_train_search, imagenet_train_holdout       imagenet_train in two parts
    coco_2017_train_search, coco_2017_train_holdout     coco_2017_train in two parts
    voc_0712_trainval                                   voc_2007_trainval and voc_2012_trainval joined
    voc_0712_trainval_search, voc_0712_trainval_holdout the same in two parts

``tools/split_dataset.py`` makes the parts.
"""

import os

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.data.datasets.pascal_voc import CLASS_NAMES
from detectron2.utils.file_io import PathManager

from detnas.errors import UserError

from .voc import load_joined

#: the two years of VOC
VOC_FOLDERS = ("VOC2007", "VOC2012")
LAYOUTS = {
    "imagenet": "imagenet/train/CLASS/*.JPEG and imagenet/val/CLASS/*.JPEG",
    "coco": "coco/annotations/instances_{train,val}2017.json, coco/train2017/*.jpg and coco/val2017/*.jpg",
    "voc": "VOC2007 and VOC2012, each with Annotations, ImageSets/Main and JPEGImages",
}

#: what final figures are measured on
TEST_SETS = ("imagenet_val", "coco_2017_val", "voc_2007_test")

#: name -> folder, and the file that lists the images, if they are not all of it
_FOLDERS = {
    "imagenet_train": ("imagenet/train", ""),
    "imagenet_val": ("imagenet/val", ""),
    "imagenet_train_search": ("imagenet/train", "imagenet/train_search.txt"),
    "imagenet_train_holdout": ("imagenet/train", "imagenet/train_holdout.txt"),
}
#: name -> json file and image folder, in "coco"
_COCO = {
    f"coco_2017_{name}": (f"annotations/instances_{split}.json", f"{folder}2017")
    for name, split, folder in (
        ("train", "train2017", "train"),
        ("val", "val2017", "val"),
        ("train_search", "train2017_search", "train"),
        ("train_holdout", "train2017_holdout", "train"),
    )
}
#: name -> folders and split
_VOC = {
    "voc_2007_trainval": (VOC_FOLDERS[:1], "trainval"),
    "voc_2007_test": (VOC_FOLDERS[:1], "test"),
    "voc_2012_trainval": (VOC_FOLDERS[1:], "trainval"),
    "voc_0712_trainval": (VOC_FOLDERS, "trainval"),
    "voc_0712_trainval_search": (VOC_FOLDERS, "trainval_search"),
    "voc_0712_trainval_holdout": (VOC_FOLDERS, "trainval_holdout"),
}


def datasets_root():
    """The folder in which the standard data lies."""
    return os.path.expanduser(os.environ.get("DETECTRON2_DATASETS") or "datasets")


def require_standard(path, layout, wanted):
    """
    Raise a UserError that begins with ``wanted``, who needs it, if a file or folder of the standard data is not there.
    ``layout`` is a name in ``LAYOUTS``, and of the command that makes the list of a part.
    """
    if PathManager.exists(path):
        return
    if os.path.splitext(path)[0].endswith(("_search", "_holdout")):
        raise UserError(f"{wanted}: {path} does not exist; make it with: python tools/split_dataset.py {layout}")
    raise UserError(
        f"{wanted}: {path} does not exist; expected in {datasets_root()}, the folder that the environment variable "
        f"DETECTRON2_DATASETS names: {LAYOUTS[layout]}"
    )


def class_folder(name):
    """
    Folder of a standard classification set, and the file that lists its images ("": all of them); None for other names.
    """
    if name not in _FOLDERS:
        return None
    folder, listing = (os.path.join(datasets_root(), path) if path else "" for path in _FOLDERS[name])
    for path in filter(None, (folder, listing)):
        require_standard(path, "imagenet", f'data set "{name}"')
    return folder, listing


def register_standard(name):
    """
    Register a standard detection set, and check that it is there; names that are none are left alone.

    The images are not checked one by one, as those of own data are: it takes minutes, and they are known to be sound.
    """
    root = datasets_root()
    if name in _COCO:
        json_file, images = (os.path.join(root, "coco", path) for path in _COCO[name])
        for path in (images, json_file):
            require_standard(path, "coco", f'data set "{name}"')
        if name not in DatasetCatalog.list():
            whole = MetadataCatalog.get("coco_2017_train")
            keys = ("thing_classes", "thing_colors", "thing_dataset_id_to_contiguous_id")
            register_coco_instances(name, {key: whole.get(key) for key in keys}, json_file, images)
    elif name in _VOC:
        folders, split = _VOC[name]
        for folder in folders:
            for path in ("Annotations", "JPEGImages", "ImageSets/Main", f"ImageSets/Main/{split}.txt"):
                require_standard(os.path.join(root, folder, path), "voc", f'data set "{name}"')
        if name not in DatasetCatalog.list():
            classes = list(CLASS_NAMES)
            DatasetCatalog.register(name, lambda: load_joined(root, folders, split, classes))
            # What is held out is measured like test2007, for which it stands in the search.
            MetadataCatalog.get(name).set(
                thing_classes=classes, dirname=root, folders=folders, split=split, year=2007,
                evaluator_type="pascal_voc",
            )
