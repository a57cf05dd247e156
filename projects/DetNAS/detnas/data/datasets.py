"""Registers data sets by the names in a config: of Detectron2, of ``standard.py``, or in a format of ``forms.py``."""

import hashlib
import json
import logging
import os
import random
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from torchvision.datasets import ImageFolder

from detnas.errors import UserError

from .clean import CleanSet
from .coco import read_coco
from .ecp import read_ecp
from .forms import PARTS, split_name
from .standard import STANDARD_PARTS, class_folder, register, register_standard, require
from .voc import read_voc, read_voc_flat
from .yolo import read_yolo

_READERS = {"coco": read_coco, "voc": read_voc, "voc-flat": read_voc_flat, "yolo": read_yolo, "ecp": read_ecp}

logger = logging.getLogger(__name__)


def register_dataset(name: str) -> Optional[List[str]]:
    """
    Register a data set once, and return its class names. They are None where Detectron2 knows them only after loading.
    Raises a UserError, with file and place, if the name has no known format, or the data is missing or faulty.
    """
    register_standard(name)
    if name not in DatasetCatalog.list():
        folder = class_folder(name)
        form, *parts = ["folder", folder] if folder else split_name(STANDARD_PARTS.get(name, name))
        if form in PARTS:
            _register_part(name, form, *parts)
        elif form == "folder":
            _register_folder(name, folder is None, *parts)
        else:
            _register_clean(name, _read(name, form, parts), _metric(form, parts))
    metadata = MetadataCatalog.get(name)
    return metadata.get("thing_classes") or metadata.get("classes")


def _read(name, form, parts):
    """Read a data set, and log corrections as information and probable mistakes as warnings."""
    for path in parts[:2] if form == "coco" else parts[:1]:
        require(path, name)
    clean = _READERS[form](*parts)
    if comm.is_main_process():
        if ":".join([form, *parts]) != name:
            logger.info(f'"{name}" is read as {":".join([form, *parts])}')
        for sentence in clean.said:
            logger.info(sentence)
        for sentence in clean.doubts:
            logger.warning(sentence)
    return clean


def _register_clean(name, clean, metadata):
    said = {"said": clean.said, "doubts": clean.doubts}
    register(name, clean.images, thing_classes=list(clean.classes), own=True, **said, **metadata)


def _register_part(name, part, count, whole):
    register_dataset(whole)
    taken = part, count, name in STANDARD_PARTS, whole
    DatasetCatalog.register(name, lambda: take_part(DatasetCatalog.get(whole), *taken))
    known = {key: value for key, value in MetadataCatalog.get(whole).as_dict().items() if key != "name"}
    MetadataCatalog.get(name).set(**{**known, "parts": [*known.get("parts", ()), taken]})


def take_part(images: List[Any], part: str, count: str, fewer: bool = False, source: str = "") -> List[Any]:
    """
    Return one part of a list of images: "holdout", the held-out images, or "rest", the others. ``count`` are held out,
    such as "80" or "20%", with ``fewer`` a third at most. The draw depends only on the numbers of images, so their
    order must be fixed. Raises a UserError that names ``source`` if a part would be empty.
    """
    try:
        number = int(len(images) * float(count[:-1]) / 100) if count.endswith("%") else int(count)
    except (ValueError, OverflowError):
        number = 0
    number = min(number, len(images) // 3) if fewer else number
    if not 0 < number < len(images):
        raise UserError(f"{source}: {count} of {len(images)} images cannot be held out; 1 to {len(images) - 1} can")
    held_out = set(random.Random("hold-out 0").sample(range(len(images)), number))  # independent of PYTHONHASHSEED
    return [image for number, image in enumerate(images) if (number in held_out) == (part == "holdout")]


def _metric(form, parts):
    """Return the metadata that choose the evaluator of a format."""
    if form not in ("voc", "voc-flat"):
        return {"evaluator_type": "ecp" if form == "ecp" else "coco"}
    # VOC 2007 has an 11-point metric. Later years and own data use the area under the curve.
    year = 2007 if os.path.basename(os.path.normpath(parts[0])) == "VOC2007" else 2012
    return {"evaluator_type": "pascal_voc", "year": year}


def register_datasets(names: Sequence[str], of_network: Sequence[str] = ()) -> Optional[List[str]]:
    """
    Register data sets that are used together. They get the classes of a network in their order, or else of the first
    data set, and may have fewer. Returns the class names, or None if no data set tells them. Raises a UserError for
    other classes, or faulty data.
    """
    classes = {name: list(found) for name in names if (found := register_dataset(name))}
    if not classes:
        return None
    first, expected = ("MODEL.DETNAS.CLASSES", list(of_network)) if of_network else next(iter(classes.items()))
    others = {name: found for name, found in classes.items() if found != expected}
    # Read all before registering any again: one may be a part of another.
    read = {name: DatasetCatalog.get(name) for name in others if set(others[name]) <= set(expected)}
    for name, found in others.items():
        metadata = MetadataCatalog.get(name)
        if metadata.get("said") is None or name not in read:
            raise UserError(f'"{first}" and data set "{name}" have other classes: {expected} and {found}')
        number = [expected.index(class_name) for class_name in found]
        images = [
            {**image, "annotations": [{**a, "category_id": number[a["category_id"]]} for a in image["annotations"]]}
            for image in read[name]
        ]
        kept = {key: metadata.get(key) for key in ("evaluator_type", "year") if metadata.get(key)}
        _register_clean(name, CleanSet(tuple(expected), images, metadata.said, metadata.doubts), kept)
    return expected


def fingerprints(names: Sequence[str]) -> Dict[str, str]:
    """Return name -> counts and digests of the content, equal for equal data in any folder. Standard data has none."""
    return {name: _fingerprint(name) for name in names if MetadataCatalog.get(name).get("own")}


def _fingerprint(name):
    dicts, metadata = DatasetCatalog.get(name), MetadataCatalog.get(name)
    annotations = [ann for image in dicts for ann in image.get("annotations", ())]
    boxes = np.array([(*ann["bbox"], ann["category_id"], ann.get("iscrowd", 0)) for ann in annotations], float)
    places = [(image.get("width"), image.get("height"), len(image.get("annotations", ())), image.get("label"))
              for image in dicts]
    files = [PathManager.get_local_path(image["file_name"]) for image in dicts]
    classes = metadata.get("thing_classes") or metadata.get("classes")
    names, sizes = [os.path.basename(file) for file in files], [os.path.getsize(file) for file in files]
    content = [places, hashlib.sha256(boxes.tobytes()).hexdigest(), list(classes)]
    return (f"{len(dicts)} images, {len(annotations)} boxes, {len(classes)} classes, names {_digest(names)}, "
            f"files {_digest(sizes)}, annotations {_digest(content)}")


def check_unchanged(before: Dict[str, str], data: Dict[str, str], where: str) -> None:
    """Raise a UserError if :func:`fingerprints` of a data set differ in ``before`` and ``data``."""
    for name, now in data.items():
        if before.get(name, now) != now:
            was = f"it had {before[name]}, and has {now}"
            raise UserError(f'data set "{name}" has changed since {where} was begun: {was}')


def _digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8]


def _register_folder(name, own, root):
    require(root, name)
    try:
        folder = ImageFolder(PathManager.get_local_path(root))
    except FileNotFoundError as e:
        raise UserError(f'data set "{name}": {e}; a folder of images for each class is expected') from None
    samples = [{"file_name": path, "image_id": i, "label": label} for i, (path, label) in enumerate(folder.samples)]
    register(name, samples, classes=folder.classes, own=own, evaluator_type="classification")
