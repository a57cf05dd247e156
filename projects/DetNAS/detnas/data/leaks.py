"""Checks that no image is in two data sets, under whatever name."""

import hashlib
import itertools
import os
from dataclasses import dataclass

from detectron2.data import DatasetCatalog
from detectron2.utils.file_io import PathManager

from detnas.errors import UserError

from .datasets import register_dataset


@dataclass(frozen=True)
class Leak:
    """An image that is in two data sets: what is equal ("file", "image id" or "content"), and its file in each."""

    kind: str
    a: str
    b: str


def find_leaks(a_dicts, b_dicts, same_source=False):
    """
    Find images of one data set in another: by file, and by content, whatever the files' names.

    Args:
        a_dicts, b_dicts: lists of dataset dicts with "file_name" and "image_id".
        same_source: whether equal image ids mean equal images, as among COCO's own sets; own data mostly counts anew
            in every set.

    Returns:
        list of :class:`Leak`, at most one for each image of ``a_dicts``.

    Raises:
        UserError: if an image is not there.
    """
    b_ids = {d["image_id"]: d["file_name"] for d in b_dicts} if same_source else {}
    b_files = {_place(d["file_name"]): d["file_name"] for d in b_dicts}
    leaks, others = [], []
    for d in a_dicts:
        file = d["file_name"]
        if _place(file) in b_files:
            leaks.append(Leak("file", file, b_files[_place(file)]))
        elif d["image_id"] in b_ids:
            leaks.append(Leak("image id", file, b_ids[d["image_id"]]))
        else:
            others.append(file)

    # Files of different size differ, so that most are never read.
    a_sizes, b_sizes = ({file: _size(file) for file in files} for files in (others, b_files.values()))
    common = set(a_sizes.values()) & set(b_sizes.values())
    contents = {_digest(file): file for file, size in b_sizes.items() if size in common}
    for file, size in a_sizes.items():
        same = contents.get(_digest(file)) if size in common else None
        if same:
            leaks.append(Leak("content", file, same))
    return leaks


def check_leaks(names):
    """
    :func:`find_leaks` between any two of the named data sets: {(name, name): leaks}.

    Raises:
        UserError: if a data set is not there or not sound, or fewer than two are named.
    """
    if len(set(names)) < max(2, len(names)):
        raise UserError(f"a check takes two or more different data sets; given: {', '.join(names) or 'none'}")
    for name in names:
        register_dataset(name)
    dicts = {name: DatasetCatalog.get(name) for name in names}
    return {
        (a, b): find_leaks(dicts[a], dicts[b], same_source=a.startswith("coco_20") and b.startswith("coco_20"))
        for a, b in itertools.combinations(names, 2)
    }


def _place(file):
    return file if "://" in file else os.path.realpath(file)


def _size(file):
    if not PathManager.isfile(file):
        raise UserError(f"{file} does not exist, though its data set names it")
    return os.path.getsize(PathManager.get_local_path(file))


def _digest(file):
    with PathManager.open(file, "rb") as f:
        content = f.read()
    return hashlib.sha256(content).digest()
