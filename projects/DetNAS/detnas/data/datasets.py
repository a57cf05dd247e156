"""
Data sets named in a config, without Python. A name in ``DATASETS.TRAIN`` or ``DATASETS.TEST`` is one that
Detectron2 knows (``coco_2017_train``, ``voc_2007_test``), one of ``standard.py`` (``imagenet_train``,
``coco_2017_train_holdout``), or says itself where the data is:

    coco:ANNOTATIONS.json:IMAGE_FOLDER    COCO form
    voc:ROOT:SPLIT                        VOC form: ROOT/Annotations, ROOT/JPEGImages, ROOT/ImageSets/Main/SPLIT.txt
    folder:ROOT                           classification: ROOT/CLASS/IMAGE
    folder:ROOT:LIST.txt                  the same, only the images of LIST.txt, a line CLASS/IMAGE each

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

from .standard import image_folder, register_standard
from .voc import read_ids, split_file

FORMS = "coco:ANNOTATIONS.json:IMAGE_FOLDER, voc:ROOT:SPLIT, folder:ROOT or folder:ROOT:LIST.txt"


def register_dataset(name):
    """
    Register a data set of the names and forms above, once; what is registered already is left as it is.

    Returns:
        list of class names, or None where a data set of Detectron2 says nothing before it is loaded.

    Raises:
        ValueError: if the name has another form, or the data is not sound (file and id are named).
        FileNotFoundError: if the data is not there.
    """
    register_standard(name)
    if name not in DatasetCatalog.list() and (standard := image_folder(name)):
        _register_folder(name, *standard)
    elif name not in DatasetCatalog.list():
        # "://" belongs to a path of PathManager, not to the form.
        form, *parts = re.split(r":(?!//)", name)
        if (form, len(parts)) not in (("coco", 2), ("voc", 2), ("folder", 1), ("folder", 2)):
            raise ValueError(f'unknown data set "{name}"; name one of Detectron2\'s or DetNAS\'s, or write {FORMS}')
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
    DatasetCatalog.register(name, lambda: _load_coco(json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=json_file, image_root=image_root, thing_classes=classes, evaluator_type="coco"
    )


def read_coco_json(json_file):
    """Content of a COCO annotation file; ValueError, naming it, if it is none."""
    with PathManager.open(json_file) as f:
        try:
            data = json.load(f)
        except json.JSONDecodeError as e:
            raise ValueError(f"{json_file}: not a JSON file: {e}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or key not in data:
            raise ValueError(f'{json_file}: no "{key}"; this is not a COCO annotation file')
    return data


def check_coco_json(json_file, image_root):
    """
    Check what would otherwise fail in the middle of a training, or silently spoil it.

    Returns:
        list of class names in the order of their category ids.

    Raises:
        ValueError: naming the file and the id of the first image or annotation that is not sound.
    """
    data = read_coco_json(json_file)
    images, categories = {}, {}
    there = set(PathManager.ls(image_root))
    for image in data["images"]:
        where = f'{json_file}: image {image.get("id")}'
        _require_keys(image, ("id", "file_name", "width", "height"), where)
        # One listing of the folder answers for all images that lie in it directly.
        if image["file_name"] not in there and not PathManager.isfile(os.path.join(image_root, image["file_name"])):
            raise ValueError(f'{where}: {image["file_name"]} is not in {image_root}')
        images[image["id"]] = image
    for category in data["categories"]:
        _require_keys(category, ("id", "name"), f"{json_file}: a category")
        categories[category["id"]] = category["name"]

    ids = set()
    for ann in data["annotations"]:
        where = f'{json_file}: annotation {ann.get("id")}'
        _require_keys(ann, ("id", "image_id", "category_id", "bbox", "area", "iscrowd"), where)
        if ann["id"] in ids:
            raise ValueError(f"{where}: another annotation has the same id")
        ids.add(ann["id"])
        if ann["image_id"] not in images:
            raise ValueError(f'{where}: image {ann["image_id"]} is not among the images')
        if ann["category_id"] not in categories:
            raise ValueError(f'{where}: category {ann["category_id"]} is not among the categories')
        box, image = ann["bbox"], images[ann["image_id"]]
        if not (isinstance(box, list) and len(box) == 4 and all(isinstance(side, (int, float)) for side in box)):
            raise ValueError(f"{where}: box {box} is not four numbers (x, y, w, h)")
        x, y, w, h = box
        if not _inside(x, y, x + w, y + h, image["width"], image["height"]):
            size = f'{image["width"]}x{image["height"]}'
            raise ValueError(f'{where}: box {box} (x, y, w, h) is outside its image {image["id"]} ({size})')
    return [categories[i] for i in sorted(categories)]


def _require_keys(record, keys, where):
    for key in keys:
        if key not in record:
            raise ValueError(f'{where}: no "{key}"')


def _inside(x0, y0, x1, y1, width, height):
    """Whether a box lies in its image; false for NaN. One pixel of grace: COCO's own boxes pass the border by less."""
    return -1 <= x0 <= x1 <= width + 1 and -1 <= y0 <= y1 <= height + 1


def _load_coco(json_file, image_root, name):
    dicts = load_coco_json(json_file, image_root, name)
    for ann in (ann for d in dicts for ann in d["annotations"]):
        # Detectron2 scales a box of whole numbers in whole numbers, and so rounds it down.
        ann["bbox"] = [float(side) for side in ann["bbox"]]
    return dicts


def _register_voc(name, root, split):
    images = split_file(root, split)
    _require(images, name)
    folder = PathManager.get_local_path(os.path.join(root, "Annotations"))
    _require(folder, name)
    ids = read_ids(root, split)
    if len(ids) < 2:
        raise ValueError(f"{images} names {len(ids)} images; Detectron2 reads VOC splits of two and more")
    for image_id in ids:
        for path in (f"Annotations/{image_id}.xml", f"JPEGImages/{image_id}.jpg"):
            if not PathManager.isfile(os.path.join(root, path)):
                raise ValueError(f"{images}: image {image_id}: {os.path.join(root, path)} does not exist")
    # Over all annotations, so that every split of a root has the same classes in the same order.
    files = [os.path.join(folder, file) for file in sorted(os.listdir(folder)) if file.endswith(".xml")]
    classes = sorted({class_name for file in files for class_name in _check_voc_xml(file)})
    DatasetCatalog.register(name, lambda: load_voc_instances(root, split, classes))
    # VOC 2007 has its own 11-point metric; everything later, and own data, the area under the curve.
    year = 2007 if os.path.basename(os.path.normpath(root)) == "VOC2007" else 2012
    MetadataCatalog.get(name).set(
        thing_classes=classes, dirname=root, split=split, year=year, evaluator_type="pascal_voc"
    )


def _check_voc_xml(file):
    """Class names of an annotation file; ValueError, naming it, if it is not sound."""
    try:
        tree = ET.parse(file)
        size = [float(tree.findtext(f"size/{side}")) for side in ("width", "height")]
        objects = [
            (obj.findtext("name"), [float(obj.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")])
            for obj in tree.findall("object")
        ]
    except (ET.ParseError, TypeError, ValueError) as e:
        kind = "not an XML file" if isinstance(e, ET.ParseError) else "a size or a box is missing or no number"
        raise ValueError(f"{file}: {kind}: {e}") from None
    for class_name, box in objects:
        if not _inside(*box, *size):
            raise ValueError(f"{file}: box {box} of {class_name} (xmin, ymin, xmax, ymax) is outside its image {size}")
    return [class_name for class_name, _ in objects]


def _register_folder(name, root, listing=""):
    _require(root, name)
    folder, files = read_image_folder(root, f'data set "{name}"')
    if listing:
        _require(listing, name)
        with PathManager.open(listing) as f:
            names = f.read().split("\n")
        wanted = [file for file in names if file]
        missing = next((file for file in wanted if file not in files), None)
        if missing or not wanted:
            what = f"{missing} is not in {root}" if missing else "it names no image"
            raise ValueError(f'data set "{name}": {listing}: {what}; a line CLASS/IMAGE is expected for each image')
        files = {file: files[file] for file in sorted(wanted)}
    samples = [{"file_name": path, "image_id": i, "label": label} for i, (path, label) in enumerate(files.values())]
    DatasetCatalog.register(name, lambda: samples)
    MetadataCatalog.get(name).set(classes=folder.classes, evaluator_type="classification")


def read_image_folder(root, source):
    """
    Returns:
        torchvision's ImageFolder of a folder of classes, and {CLASS/IMAGE: (file, label)} of all its images.

    Raises:
        ValueError: naming ``source``, if it has no such form.
    """
    try:
        local = PathManager.get_local_path(root)
        folder = ImageFolder(local)
    except FileNotFoundError as e:
        raise ValueError(f"{source}: {e}; a folder of images for each class is expected") from None
    return folder, {os.path.relpath(file, local): (file, label) for file, label in folder.samples}


_REGISTER = {"coco": _register_coco, "voc": _register_voc, "folder": _register_folder}
