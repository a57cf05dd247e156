"""
Hold-out splits for the search.

A search chooses networks by images on which neither the supernet was trained nor the final figures are measured. So a
part of the training set is held out: NAME becomes NAME_search, to train the supernet on, and NAME_holdout. Equal data
and seed give equal files, byte for byte.
"""

import itertools
import json
import os
import random
from collections import Counter
from dataclasses import dataclass

from detectron2.utils.file_io import PathManager
from tabulate import tabulate

from detnas.errors import UserError
from detnas.files import write_atomically

from .checks import read_coco_json
from .datasets import check_coco_json, read_image_folder
from .standard import VOC_FOLDERS, datasets_root, require_standard
from .voc import count_boxes, image_set_file, read_ids, require_split

PARTS = ("search", "holdout")


@dataclass(frozen=True)
class SplitFile:
    """A file to be written: which of ``PARTS`` it belongs to, its text, its images and its boxes by class name."""

    part: str
    path: str
    text: str
    num_images: int
    boxes: Counter


def hold_out(ids, count, seed, source):
    """
    Draw ``count`` of the ids, which may be given in any order.

    Raises:
        UserError: naming ``source``, if an id occurs twice or nothing is left on one side.
    """
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
    Split a COCO annotation file: COCO's own train2017, or another one, which is checked against its image folder.

    Returns:
        list of :class:`SplitFile`, to be written by :func:`write_split`.

    Raises:
        UserError: if the data is not there or not sound, or ``count`` images cannot be held out.
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
    held_out = hold_out([image["id"] for image in data["images"]], count, seed, json_file)
    stem, extension = os.path.splitext(json_file)
    if out_dir:
        stem = os.path.join(out_dir, os.path.basename(stem))
    return [_coco_part(data, held_out, part, f"{stem}_{part}{extension}") for part in PARTS]


def _coco_part(data, held_out, part, path):
    def belongs(image_id):
        return (image_id in held_out) == (part == "holdout")

    images = sorted((i for i in data["images"] if belongs(i["id"])), key=lambda image: image["id"])
    anns = sorted((a for a in data["annotations"] if belongs(a["image_id"])), key=lambda ann: ann["id"])
    categories = sorted(data["categories"], key=lambda category: category["id"])
    numbers = Counter(ann["category_id"] for ann in anns)
    # All in one string: json.dump into a file does without the fast encoder, and train2017 has 450 MB.
    text = json.dumps({**data, "images": images, "annotations": anns, "categories": categories}, sort_keys=True)
    boxes = Counter({category["name"]: numbers[category["id"]] for category in categories})
    return SplitFile(part, path, text, len(images), boxes)


def split_voc(count, seed=0, folder=None, split="trainval"):
    """
    Split the images of a VOC split: by one draw over VOC2007 and VOC2012, or of one other folder in VOC form.

    Returns:
        list of :class:`SplitFile`, two of each folder.

    Raises:
        UserError: as for :func:`split_coco`.
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
    held_out = hold_out(ids, count, seed, " and ".join(image_set_file(path, split) for path in folders))
    parts = {"search": sorted(set(ids) - held_out), "holdout": sorted(held_out)}
    return [
        _voc_part(path, split, part, [image_id for n, image_id in drawn if n == number])
        for part, drawn in parts.items()
        for number, path in enumerate(folders)
    ]


def _voc_part(folder, split, part, ids):
    path = image_set_file(folder, f"{split}_{part}")
    if len(ids) < 2:
        raise UserError(
            f"{path} would name {len(ids)} images; Detectron2 reads VOC splits of two and more: "
            f"hold out {'more' if part == 'holdout' else 'fewer'} images"
        )
    return SplitFile(part, path, "".join(f"{image_id}\n" for image_id in ids), len(ids), count_boxes(folder, ids))


def split_folder(count, seed=0, folder=None):
    """
    Split the images of ImageNet's training set, or of another folder with a folder of images for each class, into the
    lists FOLDER_search.txt and FOLDER_holdout.txt.

    Returns:
        list of two :class:`SplitFile`, without boxes.

    Raises:
        UserError: as for :func:`split_coco`.
    """
    if folder is None:
        folder = os.path.join(datasets_root(), "imagenet", "train")
        require_standard(folder, "imagenet", "nothing to split")
    elif not PathManager.isdir(folder):
        raise UserError(f"{folder} does not exist")
    folder = folder.rstrip("/")
    names = list(read_image_folder(folder, folder)[1])
    held_out = hold_out(names, count, seed, folder)
    parts = {"search": sorted(set(names) - held_out), "holdout": sorted(held_out)}
    return [
        SplitFile(part, f"{folder}_{part}.txt", "".join(f"{name}\n" for name in drawn), len(drawn), Counter())
        for part, drawn in parts.items()
    ]


def write_split(files, overwrite=False):
    """
    Write the files of a split.

    Returns:
        set of paths that were there already with the same content.

    Raises:
        UserError: before anything is written, if a file is there with other content and ``overwrite`` is not set.
    """
    there = {file.path for file in files if PathManager.isfile(file.path)}
    equal = {file.path for file in files if file.path in there and _read(file.path) == file.text.encode()}
    if there - equal and not overwrite:
        raise UserError(f"{min(there - equal)} is there with other content; --overwrite replaces it")
    for file in (file for file in files if file.path not in equal):
        PathManager.mkdirs(os.path.dirname(file.path) or ".")
        write_atomically(PathManager, file.path, lambda f: f.write(file.text.encode()))
    return equal


def _read(path):
    with PathManager.open(path, "rb") as f:
        return f.read()


def split_table(files):
    """The numbers of boxes by class in both parts, three classes a line."""
    boxes = {part: sum((file.boxes for file in files if file.part == part), Counter()) for part in PARTS}
    # Not those of the sums: adding drops classes without boxes.
    names = list(dict.fromkeys(name for file in files for name in file.boxes))
    cells = [(name, boxes["search"][name], boxes["holdout"][name]) for name in names]
    rows = [list(itertools.chain(*cells[i : i + 3])) for i in range(0, len(cells), 3)]
    return tabulate(rows, headers=["class", *PARTS] * min(3, len(cells)))
