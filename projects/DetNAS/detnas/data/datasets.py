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

import logging
import os
import re

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json, load_voc_instances
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from torchvision.datasets import ImageFolder

from detnas.errors import UserError

from .checks import coco_problems, read_coco_json, read_voc_xml
from .standard import class_folder, register_standard
from .voc import image_set_file, read_ids

FORMS = "coco:ANNOTATIONS.json:IMAGE_FOLDER, voc:ROOT:SPLIT, folder:ROOT or folder:ROOT:LIST.txt"


def register_dataset(name):
    """
    Register a data set of the names and forms above, once; what is registered already is left as it is.

    Returns:
        list of class names, or None where a data set of Detectron2 says nothing before it is loaded. UserError if the
        name has another form, or the data is not there or not sound (file and id are named).
    """
    register_standard(name)
    if name not in DatasetCatalog.list() and (standard := class_folder(name)):
        _register_folder(name, *standard)
    elif name not in DatasetCatalog.list():
        form, *parts = parse_dataset_name(name)
        _REGISTER[form](name, *parts)
    metadata = MetadataCatalog.get(name)
    return metadata.get("thing_classes") or metadata.get("classes")


def parse_dataset_name(name):
    """The parts of a name of one of the forms above, such as ["voc", ROOT, SPLIT]."""
    # "://" belongs to a path of PathManager, not to the form.
    form, *parts = re.split(r":(?!//)", name)
    if (form, len(parts)) not in (("coco", 2), ("voc", 2), ("folder", 1), ("folder", 2)):
        raise UserError(f'unknown data set "{name}"; name one of Detectron2\'s or DetNAS\'s, or write {FORMS}')
    parts = list(map(os.path.expandvars, parts))
    for unset in re.findall(r"\$\{?(\w+)", " ".join(parts)):
        raise UserError(f'data set "{name}": the environment variable {unset} is not set')
    return [form, *parts]


def require(path, name):
    """Raise a UserError, naming the data set, if a path of it does not exist."""
    if PathManager.exists(path):
        return
    hint = "; `make demo` generates it" if "toy" in path.split("/") else ""
    raise UserError(f'data set "{name}": {path} does not exist{hint}')


def _register_coco(name, json_file, image_root):
    require(json_file, name)
    require(image_root, name)
    classes = check_coco_json(json_file, image_root)
    DatasetCatalog.register(name, lambda: _load_coco(json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=json_file, image_root=image_root, thing_classes=classes, evaluator_type="coco"
    )


def check_coco_json(json_file, image_root):
    """Class names of a COCO data set in the order of their ids; UserError for what a training would stumble over."""
    data = read_coco_json(json_file)
    for problem in coco_problems(data, json_file, image_root):
        raise UserError(problem)
    flat = [ann for ann in data["annotations"] if 0 in ann["bbox"][2:]]
    if flat and comm.is_main_process():
        logging.getLogger(__name__).warning(
            f"{json_file}: {len(flat)} boxes have a width or height of 0, annotation {flat[0]['id']} the first: a "
            "training leaves them out, and an evaluation counts them as missed"
        )
    names = {category["id"]: category["name"] for category in data["categories"]}
    return [names[i] for i in sorted(names)]


def _load_coco(json_file, image_root, name):
    dicts = load_coco_json(json_file, image_root, name)
    for ann in (ann for d in dicts for ann in d["annotations"]):
        # Detectron2 scales a box of whole numbers in whole numbers, and so rounds it down.
        ann["bbox"] = [float(side) for side in ann["bbox"]]
    return dicts


def _register_voc(name, root, split):
    images = image_set_file(root, split)
    require(images, name)
    folder = PathManager.get_local_path(os.path.join(root, "Annotations"))
    require(folder, name)
    ids = read_ids(root, split)
    if len(ids) < 2:
        raise UserError(f"{images} names {len(ids)} images; Detectron2 reads VOC splits of two and more")
    for image_id in ids:
        for path in (f"Annotations/{image_id}.xml", f"JPEGImages/{image_id}.jpg"):
            if not PathManager.isfile(os.path.join(root, path)):
                raise UserError(f"{images}: image {image_id}: {os.path.join(root, path)} does not exist")
    # Over all annotations, so that every split of a root has the same classes in the same order.
    classes = set()
    for file in sorted(file for file in os.listdir(folder) if file.endswith(".xml")):
        class_names, _, problems = read_voc_xml(os.path.join(folder, file))
        for problem in problems:
            raise UserError(problem)
        classes.update(class_names)
    classes = sorted(classes)
    DatasetCatalog.register(name, lambda: load_voc_instances(root, split, classes))
    # VOC 2007 has its own 11-point metric; everything later, and own data, the area under the curve.
    year = 2007 if os.path.basename(os.path.normpath(root)) == "VOC2007" else 2012
    MetadataCatalog.get(name).set(
        thing_classes=classes, dirname=root, split=split, year=year, evaluator_type="pascal_voc"
    )


def _register_folder(name, root, listing=""):
    require(root, name)
    folder, files = read_image_folder(root, f'data set "{name}"')
    if listing:
        require(listing, name)
        with PathManager.open(listing) as f:
            names = f.read().split("\n")
        wanted = [file for file in names if file]
        missing = next((file for file in wanted if file not in files), None)
        if missing or not wanted:
            what = f"{missing} is not in {root}" if missing else "it names no image"
            raise UserError(f'data set "{name}": {listing}: {what}; a line CLASS/IMAGE is expected for each image')
        files = {file: files[file] for file in sorted(wanted)}
    samples = [{"file_name": path, "image_id": i, "label": label} for i, (path, label) in enumerate(files.values())]
    DatasetCatalog.register(name, lambda: samples)
    MetadataCatalog.get(name).set(classes=folder.classes, root=folder.root, evaluator_type="classification")


def read_image_folder(root, source):
    """torchvision's ImageFolder of a folder of classes, and {CLASS/IMAGE: (file, label)} of all its images."""
    try:
        local = PathManager.get_local_path(root)
        folder = ImageFolder(local)
    except FileNotFoundError as e:
        raise UserError(f"{source}: {e}; a folder of images for each class is expected") from None
    return folder, {os.path.relpath(file, local): (file, label) for file, label in folder.samples}


_REGISTER = {"coco": _register_coco, "voc": _register_voc, "folder": _register_folder}
