"""Reads VOC splits, also of several VOC folders as one data set, as VOC2007 and VOC2012 are."""

import os
from collections import Counter

from detectron2.data.datasets import load_voc_instances
from detectron2.utils.file_io import PathManager

from detnas.errors import UserError

from .checks import read_voc_xml


def image_set_file(folder, split):
    """Path of the file that lists the images of a split."""
    return os.path.join(folder, "ImageSets", "Main", f"{split}.txt")


def read_ids(folder, split):
    """Image ids of a split in the order of its file, such as ["000005", "000007"]."""
    with PathManager.open(image_set_file(folder, split)) as f:
        return f.read().split()


def require_split(folder, split):
    """Check that a folder in VOC form has a split."""
    lists = os.path.dirname(image_set_file(folder, split))
    if not PathManager.exists(lists):
        raise UserError(f"{lists} does not exist")
    there = sorted(file.removesuffix(".txt") for file in PathManager.ls(lists) if file.endswith(".txt"))
    if split not in there:
        raise UserError(f'{folder} has no split "{split}"; it has {", ".join(there) or "none"}')


def count_boxes(folder, ids):
    """Boxes of the images by class name, a Counter in the order of the names."""
    boxes = Counter()
    for file in (os.path.join(folder, "Annotations", f"{image_id}.xml") for image_id in ids):
        if not PathManager.isfile(file):
            raise UserError(f"{file} does not exist, though a split names it")
        boxes.update(read_voc_xml(file)[0])
    return Counter(dict(sorted(boxes.items())))


def joined_ids(root, folders, split):
    """Image ids of a split over folders of ``root``: the annotation relative to ``root``, without ".xml"."""
    return [f"{folder}/Annotations/{i}" for folder in folders for i in read_ids(os.path.join(root, folder), split)]


def load_joined(root, folders, split, classes):
    """Dataset dicts of a split over folders of ``root``, with the image ids of :func:`joined_ids`."""
    dicts = []
    for folder in folders:
        for image in load_voc_instances(os.path.join(root, folder), split, classes):
            dicts.append({**image, "image_id": f'{folder}/Annotations/{image["image_id"]}'})
    return dicts
