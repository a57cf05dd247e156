"""Finds images that are in two data sets, such as a training set and a test set."""

import hashlib
import itertools
import os
from typing import Any, Dict, List, Sequence, Tuple

from detectron2.data import DatasetCatalog
from detectron2.utils.file_io import PathManager

from detnas.errors import UserError


def find_leaks(a_dicts: List[Dict[str, Any]], b_dicts: List[Dict[str, Any]]) -> List[str]:
    """Return files of ``a_dicts`` that ``b_dicts`` has by path or content. Raises a UserError if a file is missing."""
    # Files of different sizes differ, so most files are never read.
    common = set.intersection(*({_size(d["file_name"]) for d in dicts} for dicts in (a_dicts, b_dicts)))

    def marks(image):
        yield os.path.realpath(image["file_name"])
        if _size(image["file_name"]) in common:
            with PathManager.open(image["file_name"], "rb") as f:
                yield hashlib.sha256(f.read()).digest()

    there = {mark for image in b_dicts for mark in marks(image)}
    return [image["file_name"] for image in a_dicts if not there.isdisjoint(marks(image))]


def check_leaks(names: Sequence[str]) -> Dict[Tuple[str, str], List[str]]:
    """Return the leaks between any two registered data sets: {(name, name): files of the first}."""
    dicts = {name: DatasetCatalog.get(name) for name in names}
    return {(a, b): find_leaks(dicts[a], dicts[b]) for a, b in itertools.combinations(names, 2)}


def _size(file):
    if not PathManager.isfile(file):
        raise UserError(f"{file} does not exist, though its data set names it")
    return os.path.getsize(PathManager.get_local_path(file))
