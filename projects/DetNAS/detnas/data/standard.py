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

from .voc import image_set_file, load_joined

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
    "coco_2017_train_search": ("annotations/instances_train2017_search.json", "train2017"),
    "coco_2017_train_holdout": ("annotations/instances_train2017_holdout.json", "train2017"),
}
#: name -> folders and split
_VOC = {
    "voc_0712_trainval": (VOC_FOLDERS, "trainval"),
    "voc_0712_trainval_search": (VOC_FOLDERS, "trainval_search"),
    "voc_0712_trainval_holdout": (VOC_FOLDERS, "trainval_holdout"),
}
#: Registered by Detectron2 itself, whether its files are there or not.
_DETECTRON2 = {"coco_2017_train", "coco_2017_val", "voc_2007_trainval", "voc_2007_test", "voc_2012_trainval"}


def datasets_root():
    """The folder in which the standard data lies."""
    return os.path.expanduser(os.environ.get("DETECTRON2_DATASETS") or "datasets")


def require_standard(path, layout, wanted):
    """
    Check that a file or folder of the standard data is there.

    Args:
        layout: name in ``LAYOUTS``.
        wanted: who needs it; the message begins with it.
    """
    if not PathManager.exists(path):
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
    require_standard(folder, "imagenet", f'data set "{name}"')
    if listing:
        _require_split(name, listing, "imagenet")
    return folder, listing


def register_standard(name):
    """
    Register a standard detection set, and check that it is there; names that are none are left alone.

    The images are not checked one by one, as those of own data are: it takes minutes, and they are known to be sound.
    """
    if name in _COCO:
        json_file, images = (os.path.join(datasets_root(), "coco", path) for path in _COCO[name])
        _require(name, [images], "coco")
        _require_split(name, json_file, "coco")
        if name not in DatasetCatalog.list():
            whole = MetadataCatalog.get("coco_2017_train")
            keys = ("thing_classes", "thing_colors", "thing_dataset_id_to_contiguous_id")
            register_coco_instances(name, {key: whole.get(key) for key in keys}, json_file, images)
    elif name in _VOC:
        folders, split = _VOC[name]
        _require_voc(name, [os.path.join(datasets_root(), folder) for folder in folders], split)
        if name not in DatasetCatalog.list():
            _register_joined(name, datasets_root(), folders, split)
    elif name in _DETECTRON2:
        metadata = MetadataCatalog.get(name)
        if name.startswith("coco"):
            _require(name, [metadata.image_root, metadata.json_file], "coco")
        else:
            _require_voc(name, [metadata.dirname], metadata.split)


def _register_joined(name, root, folders, split):
    classes = list(CLASS_NAMES)
    DatasetCatalog.register(name, lambda: load_joined(root, folders, split, classes))
    # What is held out is measured like test2007, for which it stands in the search.
    MetadataCatalog.get(name).set(
        thing_classes=classes, dirname=root, folders=folders, split=split, year=2007, evaluator_type="pascal_voc"
    )


def _require(name, paths, layout):
    for path in paths:
        require_standard(path, layout, f'data set "{name}"')


def _require_voc(name, folders, split):
    for folder in folders:
        _require(name, [os.path.join(folder, part) for part in ("Annotations", "JPEGImages", "ImageSets/Main")], "voc")
        if split in ("trainval_search", "trainval_holdout"):
            _require_split(name, image_set_file(folder, split), "voc")
        _require(name, [image_set_file(folder, split)], "voc")


def _require_split(name, path, command):
    if not PathManager.exists(path):
        raise UserError(
            f'data set "{name}": {path} does not exist; make it with: python tools/split_dataset.py {command}'
        )
