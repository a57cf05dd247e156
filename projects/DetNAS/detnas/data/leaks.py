"""Images that are in two data sets, such as one that is trained on and tested."""

import hashlib
import itertools
import os
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Tuple

from detectron2.data import DatasetCatalog
from detectron2.utils.file_io import PathManager

from detnas.errors import UserError


class Leak(NamedTuple):
    """An image that is in two data sets: what is equal ("file", "image id" or "content"), and its file in each."""

    kind: str
    a: str
    b: str


def find_leaks(a_dicts: List[Dict[str, Any]], b_dicts: List[Dict[str, Any]], same_source: bool = False) -> List[Leak]:
    """
    Find images of one data set, a list of dataset dicts, in another: by file, by content, whatever the files' names,
    and by "image_id" if both come from the ``same_source``. Own data counts from 1 in every set.
    """
    # Files of different size differ, so that most are never read.
    common = set.intersection(*({_size(d["file_name"]) for d in dicts} for dicts in (a_dicts, b_dicts)))

    def marks(image) -> Iterable[Tuple[str, Any]]:
        yield "file", os.path.realpath(image["file_name"])
        if same_source:
            yield "image id", image["image_id"]
        if _size(image["file_name"]) in common:
            with PathManager.open(image["file_name"], "rb") as f:
                yield "content", hashlib.sha256(f.read()).digest()

    there = {mark: image["file_name"] for image in b_dicts for mark in marks(image)}
    leaks = ((image["file_name"], next(filter(there.get, marks(image)), None)) for image in a_dicts)
    return [Leak(mark[0], file, there[mark]) for file, mark in leaks if mark]


def check_leaks(names: Sequence[str]) -> Dict[Tuple[str, str], List[Leak]]:
    """The leaks between any two of the data sets, which are registered: {(name, name): list of :class:`Leak`}."""
    dicts = {name: DatasetCatalog.get(name) for name in names}
    return {
        (a, b): find_leaks(dicts[a], dicts[b], same_source=a.startswith("coco_20") and b.startswith("coco_20"))
        for a, b in itertools.combinations(names, 2)
    }


def _size(file):
    if not PathManager.isfile(file):
        raise UserError(f"{file} does not exist, though its data set names it")
    return os.path.getsize(PathManager.get_local_path(file))
