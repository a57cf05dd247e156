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


def split_coco(count, seed=0, json_file=None, image_root=None, out_dir=None):
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
    held_out = draw([image["id"] for image in data["images"]], count, seed, json_file)
    stem, extension = os.path.splitext(json_file)
    if out_dir:
        stem = os.path.join(out_dir, os.path.basename(stem))
    return [_coco_part(data, held_out, part, f"{stem}_{part}{extension}") for part in PARTS]


def _coco_part(data, held_out, part, path):
    def belongs(image_id):
        return (image_id in held_out) == (part == "holdout")

    by_id = operator.itemgetter("id")
    images = sorted((image for image in data["images"] if belongs(image["id"])), key=by_id)
    anns = sorted((ann for ann in data["annotations"] if belongs(ann["image_id"])), key=by_id)
    categories, numbers = sorted(data["categories"], key=by_id), Counter(ann["category_id"] for ann in anns)
    # All in one string: json.dump into a file does without the fast encoder, and train2017 has 450 MB.
    text = json.dumps({**data, "images": images, "annotations": anns, "categories": categories}, sort_keys=True)
    boxes = Counter({category["name"]: numbers[category["id"]] for category in categories})
    return SplitFile(part, path, text, len(images), boxes)


def split_voc(count, seed=0, folder=None, split="trainval"):
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
    parts = {"search": sorted(set(ids) - held_out), "holdout": sorted(held_out)}
    return [
        _voc_part(path, split, part, [image_id for n, image_id in drawn if n == number])
        for part, drawn in parts.items()
        for number, path in enumerate(folders)
    ]


def _voc_part(folder, split, part, ids):
    path = image_set_file(folder, f"{split}_{part}")
    if len(ids) < 2:
        raise UserError(f"{path} would name {len(ids)} images; Detectron2 reads VOC splits of two and more: "
                        f"hold out {'more' if part == 'holdout' else 'fewer'} images")
    return SplitFile(part, path, "".join(f"{image_id}\n" for image_id in ids), len(ids), count_boxes(folder, ids))


def write_split(files, overwrite=False):
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


def find_leaks(a_dicts, b_dicts, same_source=False):
    """
    Find images of one data set, a list of dataset dicts, in another: by file, by content, whatever the files' names,
    and by "image_id" if both come from the ``same_source``. Own data often counts from 1 in every set.
    """
    b_ids = {d["image_id"]: d["file_name"] for d in b_dicts} if same_source else {}
    b_files = {os.path.realpath(d["file_name"]): d["file_name"] for d in b_dicts}
    leaks, others = [], []
    for d in a_dicts:
        file = d["file_name"]
        if os.path.realpath(file) in b_files:
            leaks.append(Leak("file", file, b_files[os.path.realpath(file)]))
        elif d["image_id"] in b_ids:
            leaks.append(Leak("image id", file, b_ids[d["image_id"]]))
        else:
            others.append(file)

    # Files of different size differ, so that most are never read.
    a_sizes, b_sizes = ({file: _size(file) for file in files} for files in (others, b_files.values()))
    common = set(a_sizes.values()) & set(b_sizes.values())
    contents = {_digest(file): file for file, size in b_sizes.items() if size in common}
    same = {file: contents.get(_digest(file)) for file, size in a_sizes.items() if size in common}
    return leaks + [Leak("content", file, other) for file, other in same.items() if other]


def check_leaks(names):
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


def _digest(file):
    return hashlib.sha256(_read(file)).digest()
