"""
Parts of a training set: what is held out for a search or a test, and images that are in two sets.

A search chooses networks by images on which neither the supernet was trained nor the final figures are measured. So a
part of the training set is held out: NAME becomes NAME_search, to train the supernet on, and NAME_holdout. Equal data
and seed give equal files, byte for byte.
"""

import hashlib
import itertools
import json
import operator
import os
import random
from collections import Counter
from typing import NamedTuple

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from detectron2.data import DatasetCatalog
from detectron2.utils.file_io import PathManager

from detnas.data.checks import read_coco_json
from detnas.data.datasets import check_coco_json, register_dataset
from detnas.data.standard import VOC_FOLDERS, datasets_root, require_standard
from detnas.data.voc import count_boxes, image_set_file, read_ids, require_split
from detnas.errors import UserError
from detnas.files import write_atomically

PARTS = ("search", "holdout")


class SplitFile(NamedTuple):
    """A file to be written: which of ``PARTS`` it belongs to, its text, its images and its boxes by class name."""

    part: str
    path: str
    text: str
    num_images: int
    boxes: Counter


def draw(ids, count: int, seed: int, source: str) -> set:
    """Draw ``count`` of the ids of ``source``, in whatever order they are given."""
    ids = sorted(ids)
    twice = next((a for a, b in zip(ids, ids[1:]) if a == b), None)
    if twice is not None:
        raise UserError(f"{source}: image {twice} occurs twice")
    if not 0 < count < len(ids):
        raise UserError(f"{source}: {count} of {len(ids)} images cannot be held out; 1 to {len(ids) - 1} can")
    # A string is hashed by random itself, independent of PYTHONHASHSEED.
    return set(random.Random(f"hold-out {seed}").sample(ids, count))


def split_coco(count, seed=0, json_file=None, image_root=None, out_dir=None) -> list:
    """
    Split a COCO annotation file, COCO's own train2017 or another one, into two :class:`SplitFile`, to be written by
    :func:`write_split`.
    """
    if json_file is None:
        json_file = os.path.join(datasets_root(), "coco", "annotations", "instances_train2017.json")
        require_standard(json_file, "coco", "nothing to split")
    else:
        for path in (json_file, image_root):
            if not PathManager.exists(path):
                raise UserError(f"{path} does not exist")
        check_coco_json(json_file, image_root)
    data = read_coco_json(json_file)
    images, anns, categories = (
        sorted(data[key], key=operator.itemgetter("id")) for key in ("images", "annotations", "categories"))
    held_out = draw([image["id"] for image in images], count, seed, json_file)
    stem, extension = os.path.splitext(json_file)
    if out_dir:
        stem = os.path.join(out_dir, os.path.basename(stem))
    files = []
    for part in PARTS:
        chosen = [image for image in images if (image["id"] in held_out) == (part == "holdout")]
        boxes = [ann for ann in anns if (ann["image_id"] in held_out) == (part == "holdout")]
        # All in one string: json.dump into a file does without the fast encoder, and train2017 has 450 MB.
        text = json.dumps({**data, "images": chosen, "annotations": boxes, "categories": categories}, sort_keys=True)
        numbers = Counter(ann["category_id"] for ann in boxes)
        by_class = Counter({category["name"]: numbers[category["id"]] for category in categories})
        files.append(SplitFile(part, f"{stem}_{part}{extension}", text, len(chosen), by_class))
    return files


def split_voc(count, seed=0, folder=None, split="trainval") -> list:
    """
    Split the images of a VOC split: by one draw over VOC2007 and VOC2012, or of one other folder in VOC form. Returns
    two :class:`SplitFile` a folder; errors as of :func:`split_coco`.
    """
    if folder is None:
        folders = [os.path.join(datasets_root(), year) for year in VOC_FOLDERS]
        for path in (image_set_file(year, split) for year in folders):
            require_standard(path, "voc", "nothing to split")
    else:
        folders = [folder]
        require_split(folder, split)
    # By the number of the folder, whose name must not change the draw.
    ids = [(number, image_id) for number, path in enumerate(folders) for image_id in read_ids(path, split)]
    held_out = draw(ids, count, seed, " and ".join(image_set_file(path, split) for path in folders))
    files = []
    for part, (number, folder) in itertools.product(PARTS, enumerate(folders)):
        drawn = sorted(i for n, i in ids if n == number and ((n, i) in held_out) == (part == "holdout"))
        path = image_set_file(folder, f"{split}_{part}")
        if len(drawn) < 2:
            raise UserError(f"{path} would name {len(drawn)} images; Detectron2 reads VOC splits of two and more: "
                            f"hold out {'more' if part == 'holdout' else 'fewer'} images")
        text = "".join(f"{image_id}\n" for image_id in drawn)
        files.append(SplitFile(part, path, text, len(drawn), count_boxes(folder, drawn)))
    return files


def write_split(files: list, overwrite: bool = False) -> set:
    """Write the files of a split; returns the set of paths that were there already with the same content."""
    there = {file.path for file in files if PathManager.isfile(file.path)}
    equal = {file.path for file in files if file.path in there and _read(file.path) == file.text.encode()}
    if there - equal and not overwrite:
        raise UserError(f"{min(there - equal)} is there with other content; --overwrite replaces it")
    for file in (file for file in files if file.path not in equal):
        PathManager.mkdirs(os.path.dirname(file.path) or ".")
        write_atomically(PathManager, file.path, lambda f: f.write(file.text.encode()))
    return equal


class Leak(NamedTuple):
    """An image that is in two data sets: what is equal ("file", "image id" or "content"), and its file in each."""

    kind: str
    a: str
    b: str


def find_leaks(a_dicts: list, b_dicts: list, same_source: bool = False) -> list:
    """
    Find images of one data set, a list of dataset dicts, in another: by file, by content, whatever the files' names,
    and by "image_id" if both come from the ``same_source``. Own data often counts from 1 in every set.
    """
    # Files of different size differ, so that most are never read.
    common = set.intersection(*({_size(d["file_name"]) for d in dicts} for dicts in (a_dicts, b_dicts)))

    def marks(image):
        yield "file", os.path.realpath(image["file_name"])
        if same_source:
            yield "image id", image["image_id"]
        if _size(image["file_name"]) in common:
            yield "content", hashlib.sha256(_read(image["file_name"])).digest()

    there = {mark: image["file_name"] for image in b_dicts for mark in marks(image)}
    leaks = ((image["file_name"], next(filter(there.get, marks(image)), None)) for image in a_dicts)
    return [Leak(mark[0], file, there[mark]) for file, mark in leaks if mark]


def check_leaks(names) -> dict:
    """The leaks between any two of the named data sets: {(name, name): list of :class:`Leak`}."""
    if len(set(names)) < max(2, len(names)):
        raise UserError(f"a check takes two or more different data sets; given: {', '.join(names) or 'none'}")
    for name in names:
        register_dataset(name)
    dicts = {name: DatasetCatalog.get(name) for name in names}
    return {
        (a, b): find_leaks(dicts[a], dicts[b], same_source=a.startswith("coco_20") and b.startswith("coco_20"))
        for a, b in itertools.combinations(names, 2)
    }


def _size(file):
    if not PathManager.isfile(file):
        raise UserError(f"{file} does not exist, though its data set names it")
    return os.path.getsize(PathManager.get_local_path(file))


def _read(file):
    with PathManager.open(file, "rb") as f:
        return f.read()
