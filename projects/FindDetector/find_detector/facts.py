"""What there is: images, boxes and classes of a data set, and the machine."""

import os
from collections import Counter
from dataclasses import dataclass, field

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import numpy as np
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode

from detnas.data.datasets import parse_dataset_name, register_dataset
from detnas.errors import UserError

#: fewest images with boxes that can be divided into parts
FEWEST_IMAGES = 10
#: a class with fewer boxes is named: its AP says little
FEW_BOXES = 10


@dataclass
class Facts:
    """
    What a data set holds. Crowds and boxes of width or height 0 are left out, as in a training.

    Args:
        name: of the data set, as in a config.
        sizes: (N, 2) float array, height and width of each image in pixels.
        boxes: (M, 3) float array: width and height in pixels, and the number of its image, 0 to N - 1.
        classes: {name: number of boxes}, in the order of the data set, also of those without any.
        files: of the images that have boxes.
    """

    name: str
    sizes: np.ndarray
    boxes: np.ndarray
    classes: dict = field(default_factory=dict)
    files: list = field(default_factory=list)

    @property
    def images(self):
        return len(self.sizes)

    @property
    def without_boxes(self):
        return self.images - len(self.files)

    def boxes_per_image(self, share=0.95):
        """So many boxes has an image at most, but for the fullest ones."""
        counts = np.bincount(self.boxes[:, 2].astype(int), minlength=self.images)
        return int(np.ceil(np.quantile(counts, share)))

    def small_box(self):
        """Square root of the area of which one box of ten has less, in pixels."""
        return float(np.quantile(np.sqrt(self.boxes[:, 0] * self.boxes[:, 1]), 0.1))

    def rare(self):
        """The classes with few boxes, and how many they have."""
        return {name: count for name, count in self.classes.items() if count < FEW_BOXES}


def look(name, what="--train"):
    """
    The :class:`Facts` of a data set named as in a config, ``coco:ANNOTATIONS.json:IMAGES`` or ``voc:ROOT:SPLIT``.

    Raises:
        UserError: if it is not there or not sound, or holds no boxes; with file and id.
    """
    form, *_ = parse_dataset_name(name)
    if form not in ("coco", "voc"):
        raise UserError(f"{what} {name}: a detector needs boxes: coco:ANNOTATIONS.json:IMAGES or voc:ROOT:SPLIT")
    classes = register_dataset(name)
    dicts = DatasetCatalog.get(name)
    sizes = np.array([(d["height"], d["width"]) for d in dicts], float).reshape(-1, 2)
    boxes, files, counts = [], [], Counter()
    for number, image in enumerate(dicts):
        found = [ann for ann in image["annotations"] if not ann.get("iscrowd", 0)]
        sides = [_sides(ann) for ann in found]
        kept = [(ann, side) for ann, side in zip(found, sides) if min(side) > 0]
        boxes += [(*side, number) for _, side in kept]
        counts.update(classes[ann["category_id"]] for ann, _ in kept)
        if kept:
            files.append(image["file_name"])
    if not boxes:
        raise UserError(f"{what} {name}: none of its {len(dicts)} images has a box")
    return Facts(name, sizes, np.array(boxes, float), {c: counts[c] for c in classes}, files)


def _sides(ann):
    x0, y0, x1, y1 = BoxMode.convert(list(map(float, ann["bbox"])), ann["bbox_mode"], BoxMode.XYXY_ABS)
    return x1 - x0, y1 - y0


def check_parts(train, test=None):
    """
    Raises:
        UserError: if there are too few images to divide, or both sets have other classes.
    """
    if len(train.files) < FEWEST_IMAGES:
        raise UserError(f"{train.name}: {len(train.files)} images with boxes; a detector needs at least "
                        f"{FEWEST_IMAGES}, some of which are held out")
    if test is not None and list(train.classes) != list(test.classes):
        raise UserError(f"--train and --test have other classes: {', '.join(train.classes)} and "
                        f"{', '.join(test.classes)}")


def machine():
    """{"cores": number, "gpu": name of the one that is used, "" without one, "gpus": number}."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {"cores": cores, "gpu": gpu, "gpus": torch.cuda.device_count()}
