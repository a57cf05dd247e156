"""
Names of data sets, which give a format and paths:

    coco:ANNOTATIONS.json:IMAGE_FOLDER    COCO format
    voc:ROOT:SPLIT                        VOC format: ROOT/Annotations, ROOT/JPEGImages, ROOT/ImageSets/Main/SPLIT.txt
    voc-flat:FOLDER                       an xml file beside each image, as labelling tools write them
    yolo:DATA.yaml:SPLIT                  YOLO format; SPLIT is train (the default), val or test
    export:FOLDER:SPLIT                   FOLDER/train, FOLDER/valid, FOLDER/test, each in one of the formats above
    ecp:ROOT:DAY/SPLIT                    EuroCity Persons: ROOT/DAY/labels/SPLIT, ROOT/DAY/img/SPLIT, DAY day or night
    folder:ROOT                           classification: ROOT/CLASS/IMAGE
    rest:COUNT:NAME, holdout:COUNT:NAME   NAME without COUNT held-out images, and these images; COUNT is 80 or 20%, say

The format of a bare path is recognised. ``$VARIABLES`` and ``~`` are expanded.
"""

import itertools
import os
import re
from typing import List, Optional

from detectron2.utils.file_io import PathManager

from detnas.errors import UserError

from .voc import IMAGE_ENDINGS, splits
from .yolo import yolo_splits

#: format -> its parts after the colon, optional ones in brackets
FORMS = {
    "coco": "ANNOTATIONS.json:IMAGE_FOLDER",
    "voc": "ROOT:SPLIT",
    "voc-flat": "FOLDER",
    "yolo": "DATA.yaml[:SPLIT]",
    "export": "FOLDER[:SPLIT]",
    "ecp": "ROOT:DAY/SPLIT",
    "folder": "ROOT",
}
#: the two parts of a data set with held-out images
PARTS = ("rest", "holdout")
#: name of a split's annotation file in an export
EXPORTED = "_annotations.coco.json"
#: split -> names of its folder
_SPLITS = {"train": ("train",), "val": ("valid", "val", "validation"), "test": ("test",)}


def split_name(name: str) -> List[str]:
    """Return [PART, COUNT, NAME] for a name with one of ``PARTS``, else what :func:`parse_dataset_name` returns."""
    parts = name.split(":", 2)
    return parts if len(parts) == 3 and parts[0] in PARTS else parse_dataset_name(name)


def parse_dataset_name(name: str) -> List[str]:
    """Return format and parts, such as ["voc", ROOT, SPLIT], of a name. Raises a UserError if no format fits."""
    form, _, rest = name.partition(":")
    if form not in FORMS or rest.startswith("//"):
        path = expand(name, name)
        if not PathManager.exists(path):
            raise UserError(f'unknown data set "{name}": no path that exists, no name of Detectron2 or DetNAS, none of '
                            + _all_forms())
        return parse_dataset_name(recognise(path))
    counts = {FORMS[form].count(":") + 1, FORMS[form].count(":") + 1 - FORMS[form].count("[")}
    # "://" is part of a path of PathManager.
    found = list(map(os.path.expanduser, _group(re.split(r":(?!//)", expand(rest, name)), counts)))
    if not found:
        raise UserError(f'data set "{name}": {form}:{FORMS[form]} is expected')
    if form == "export":
        return parse_dataset_name(_exported(found[0], *found[1:]))
    if form == "yolo" and len(found) == 1:
        found.append("train")
    return [form, *found]


def _group(words, counts):
    """Join words into an allowed number of parts, ``counts``, preferably existing paths, which may contain colons."""

    def there(path):
        return PathManager.exists(os.path.expanduser(path))

    ways = [[":".join(words[a:b]) for a, b in zip((0, *cuts), (*cuts, len(words)))]
            for count in sorted(counts, reverse=True)
            for cuts in itertools.combinations(range(1, len(words)), count - 1)]
    return max(ways, key=lambda way: (there(way[0]), there(way[-1])), default=[])


def _all_forms():
    return ", ".join(f"{form}:{parts}" for form, parts in FORMS.items())


def expand(path: str, name: str) -> str:
    """Expand ``~`` and variables in a path. Raises a UserError with the data set's name if a variable is not set."""
    expanded = os.path.expandvars(os.path.expanduser(path))
    unset = re.search(r"\$\{?(\w+)", expanded)
    if unset:
        raise UserError(f'data set "{name}": the environment variable {unset.group(1)} is not set')
    return expanded


def recognise(path: str) -> str:
    """Return the full name, with format, of the data in a file or folder. Raises a UserError if there is none."""
    if PathManager.isfile(path):
        if path.lower().endswith(".json"):
            return f"coco:{path}:{_image_root(path)}"
        if path.lower().endswith((".yaml", ".yml")):
            return f"yolo:{path}:{(yolo_splits(path) or ['train'])[0]}"
        raise UserError(f"{path}: a data set is a folder, a .json in COCO form, a data.yaml, or {_all_forms()}")
    names = PathManager.ls(path)
    if _split_folder(path, "train") and (found := _of_split(path, "train")):
        return found
    if there := splits(path):
        return f"voc:{path}:{next((s for s in ('trainval', 'train') if s in there), there[0])}"
    for usual, endings in ((EXPORTED, (".json",)), ("data.yaml", (".yaml", ".yml"))):
        files = [file for file in names if file.lower().endswith(endings)]
        if usual in files or len(files) == 1:
            return recognise(os.path.join(path, usual if usual in files else files[0]))
    if any(file.lower().endswith(".xml") for file in names):
        return f"voc-flat:{path}"
    classes = [name for name in names if PathManager.isdir(os.path.join(path, name))]
    if classes and all(_has_images(os.path.join(path, name)) for name in classes):
        return f"folder:{path}"
    raise UserError(f"{path}: no annotations of a known form were found in this folder; name them: {_all_forms()}")


def other_splits(name: str) -> dict:
    """Return the existing other splits of the export or data.yaml of ``name``, as {"val": name, "test": name}."""
    form, _, rest = name.partition(":")
    path = expand(rest if form in ("export", "yolo") else name, name)
    if PathManager.isdir(path) and _split_folder(path, "train"):
        return {split: found for split in ("val", "test") if (found := _of_split(path, split))}
    if form not in FORMS and not PathManager.exists(path):
        return {}  # a registered name, or a part of another data set
    parts = parse_dataset_name(name)
    if parts[0] != "yolo":
        return {}
    return {split: f"yolo:{parts[1]}:{split}" for split in yolo_splits(parts[1]) if split not in ("train", parts[2])}


def _exported(folder, split="train"):
    split = next((key for key, names in _SPLITS.items() if split in names), split)
    found = _of_split(folder, split)
    if not found:
        there = [key for key in _SPLITS if _of_split(folder, key)]
        raise UserError(f'{folder} has no annotated folder of "{split}"; it has: {", ".join(there) or "none"}')
    return found


def _of_split(folder, split) -> Optional[str]:
    """Return the name of a split of an export, or None if the export lacks the split."""
    part = _split_folder(folder, split)
    yamls = [file for file in PathManager.ls(folder) if file.lower().endswith((".yaml", ".yml"))]
    if part and PathManager.isfile(os.path.join(part, EXPORTED)):
        return f"coco:{os.path.join(part, EXPORTED)}:{part}"
    if len(yamls) == 1 and split in yolo_splits(os.path.join(folder, yamls[0])):
        return f"yolo:{os.path.join(folder, yamls[0])}:{split}"
    if part and any(file.lower().endswith(".xml") for file in PathManager.ls(part)):
        return f"voc-flat:{part}"
    return None


def _split_folder(folder, split):
    paths = (os.path.join(folder, name) for name in _SPLITS.get(split, ()))
    return next((path for path in paths if PathManager.isdir(path)), None)


def _image_root(json_file):
    """Return the image folder of a json file: its own, or "images" or the file's stem, beside it or one level up."""
    folder, stem = os.path.dirname(json_file) or ".", os.path.splitext(os.path.basename(json_file))[0]
    above = os.path.dirname(folder) or "."
    tried = [folder, *(os.path.join(at, name) for at in (folder, above) for name in (stem, "images"))]
    return next((path for path in tried if _has_images(path)), folder)


def _has_images(folder):
    return PathManager.isdir(folder) and any(file.lower().endswith(IMAGE_ENDINGS) for file in PathManager.ls(folder))
