"""
Data sets named in a config, without Python. A name in ``DATASETS.TRAIN`` or ``DATASETS.TEST`` is either one that
Detectron2 knows (``coco_2017_train``, ``voc_2007_test``) or says itself where the data is:

    coco:ANNOTATIONS.json:IMAGE_FOLDER    COCO form
    voc:ROOT:SPLIT                        VOC form: ROOT/Annotations, ROOT/JPEGImages, ROOT/ImageSets/Main/SPLIT.txt
    folder:ROOT                           classification: ROOT/CLASS/IMAGE

``$VARIABLES`` in it are taken from the environment.
"""

import json
import os
import re
import xml.etree.ElementTree as ET

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json, load_voc_instances
from detectron2.utils.file_io import PathManager
from torchvision.datasets import ImageFolder

FORMS = "coco:ANNOTATIONS.json:IMAGE_FOLDER, voc:ROOT:SPLIT or folder:ROOT"


def register_dataset(name):
    """
    Register a data set of the forms above, once; names that Detectron2 knows are left as they are.

    Returns:
        list of class names, or None where Detectron2's own data set says nothing before it is loaded.

    Raises:
        ValueError: if the name has another form, or the data is not sound (file and id are named).
        FileNotFoundError: if the data is not there.
    """
    if name not in DatasetCatalog.list():
        # "://" belongs to a path of PathManager, not to the form.
        form, *parts = re.split(r":(?!//)", name)
        if (form, len(parts)) not in (("coco", 2), ("voc", 2), ("folder", 1)):
            raise ValueError(f'unknown data set "{name}"; name one of Detectron2\'s, or write {FORMS}')
        _REGISTER[form](name, *(_expand(part, name) for part in parts))
    metadata = MetadataCatalog.get(name)
    return metadata.get("thing_classes") or metadata.get("classes")


def _expand(path, name):
    expanded = os.path.expandvars(path)
    unset = re.search(r"\$\{?(\w+)", expanded)
    if unset:
        raise ValueError(f'data set "{name}": the environment variable {unset.group(1)} is not set')
    return expanded


def _require(path, name):
    if PathManager.exists(path):
        return
    hint = "; `make demo` generates it" if "toy" in path.split("/") else ""
    raise FileNotFoundError(f'data set "{name}": {path} does not exist{hint}')


def _register_coco(name, json_file, image_root):
    _require(json_file, name)
    _require(image_root, name)
    classes = check_coco_json(json_file, image_root)
    DatasetCatalog.register(name, lambda: load_coco_json(json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=json_file, image_root=image_root, thing_classes=classes, evaluator_type="coco"
    )


def check_coco_json(json_file, image_root):
    """
    Check what would otherwise fail in the middle of a training, or silently spoil it.

    Returns:
        list of class names in the order of their category ids.

    Raises:
        ValueError: naming the file and the id of the first image or annotation that is not sound.
    """
    with PathManager.open(json_file) as f:
        try:
            data = json.load(f)
        except json.JSONDecodeError as e:
            raise ValueError(f"{json_file}: not a JSON file: {e}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or key not in data:
            raise ValueError(f'{json_file}: no "{key}"; this is not a COCO annotation file')

    images = {}
    there = set(PathManager.ls(image_root))
    for image in data["images"]:
        # One listing of the folder answers for all images that lie in it directly.
        if image["file_name"] not in there and not PathManager.isfile(os.path.join(image_root, image["file_name"])):
            raise ValueError(f'{json_file}: image {image["id"]}: {image["file_name"]} is not in {image_root}')
        images[image["id"]] = image
    categories = {category["id"]: category["name"] for category in data["categories"]}

    for ann in data["annotations"]:
        where = f'{json_file}: annotation {ann.get("id")}'
        for key in ("image_id", "category_id", "bbox", "area", "iscrowd"):
            if key not in ann:
                raise ValueError(f'{where}: no "{key}"')
        if ann["image_id"] not in images:
            raise ValueError(f'{where}: image {ann["image_id"]} is not among the images')
        if ann["category_id"] not in categories:
            raise ValueError(f'{where}: category {ann["category_id"]} is not among the categories')
        image = images[ann["image_id"]]
        x, y, w, h = ann["bbox"]
        # One pixel of grace: COCO's own boxes pass the border by fractions of a pixel.
        if x < -1 or y < -1 or w < 0 or h < 0 or x + w > image["width"] + 1 or y + h > image["height"] + 1:
            size = f'{image["width"]}x{image["height"]}'
            raise ValueError(f'{where}: box {ann["bbox"]} (x, y, w, h) is outside its image {image["id"]} ({size})')
    return [categories[i] for i in sorted(categories)]


def _register_voc(name, root, split):
    split_file = os.path.join(root, "ImageSets", "Main", f"{split}.txt")
    _require(split_file, name)
    # Over all annotations, so that every split of a root has the same classes in the same order.
    folder = PathManager.get_local_path(os.path.join(root, "Annotations"))
    classes = set()
    for file in sorted(os.listdir(folder)):
        try:
            tree = ET.parse(os.path.join(folder, file))
        except ET.ParseError as e:
            raise ValueError(f"{os.path.join(folder, file)}: not an XML file: {e}") from None
        classes.update(obj.findtext("name") for obj in tree.findall("object"))
    classes = sorted(classes)
    with PathManager.open(split_file) as f:
        for image_id in f.read().split():
            for path in (f"Annotations/{image_id}.xml", f"JPEGImages/{image_id}.jpg"):
                if not PathManager.isfile(os.path.join(root, path)):
                    raise ValueError(f"{split_file}: image {image_id}: {os.path.join(root, path)} does not exist")
    DatasetCatalog.register(name, lambda: load_voc_instances(root, split, classes))
    # VOC 2007 has its own 11-point metric; everything later, and own data, the area under the curve.
    year = 2007 if os.path.basename(os.path.normpath(root)) == "VOC2007" else 2012
    MetadataCatalog.get(name).set(
        thing_classes=classes, dirname=root, split=split, year=year, evaluator_type="pascal_voc"
    )


def _register_folder(name, root):
    _require(root, name)
    try:
        folder = ImageFolder(PathManager.get_local_path(root))
    except FileNotFoundError as e:
        raise ValueError(f'data set "{name}": {e}; a folder of images for each class is expected') from None
    samples = [
        {"file_name": file, "image_id": index, "label": label} for index, (file, label) in enumerate(folder.samples)
    ]
    DatasetCatalog.register(name, lambda: samples)
    MetadataCatalog.get(name).set(classes=folder.classes, evaluator_type="classification")


_REGISTER = {"coco": _register_coco, "voc": _register_voc, "folder": _register_folder}
