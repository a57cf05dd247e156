"""What a data set holds, and images that are held out of it."""

import os
from collections import Counter
from dataclasses import dataclass

import numpy as np
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode

from detnas.data.datasets import parse_dataset_name, register_dataset
from detnas.data.voc import image_set_file
from detnas.errors import UserError

from .splits import split_coco, split_voc, write_split

#: fewest images with boxes from which some can be held out
FEWEST_IMAGES = 10
#: The plan names classes with fewer boxes, since their AP says little.
FEW_BOXES = 10


@dataclass(frozen=True)
class Facts:
    """What a data set holds, without crowds and boxes of width or height 0, which a training leaves out, too."""

    name: str  # as in a config
    sizes: np.ndarray  # (N, 2) floats, height and width of each image in pixels
    boxes: np.ndarray  # (M, 3) floats, width and height in pixels, and the number of its image, 0 to N - 1
    classes: dict  # {name: number of boxes}, in the order of the data set, also of classes without boxes
    files: list  # paths of the images that have boxes

    @property
    def images(self) -> int:
        return len(self.sizes)

    def boxes_per_image(self) -> int:
        """The 95th percentile of the number of boxes of an image."""
        counts = np.bincount(self.boxes[:, 2].astype(int), minlength=self.images)
        return int(np.ceil(np.quantile(counts, 0.95)))

    def small_box(self) -> float:
        """The 10th percentile of the boxes' sizes; a size is the square root of the area, in pixels."""
        return float(np.quantile(np.sqrt(self.boxes[:, 0] * self.boxes[:, 1]), 0.1))

    def rare(self) -> dict:
        """The classes with few boxes, and how many they have."""
        return {name: count for name, count in self.classes.items() if count < FEW_BOXES}


def look(name: str, option: str = "--train") -> Facts:
    """Read a data set named as in a config, ``coco:ANNOTATIONS.json:IMAGES`` or ``voc:ROOT:SPLIT``."""
    if parse_dataset_name(name)[0] not in ("coco", "voc"):
        raise UserError(f"{option} {name}: a detector needs boxes: coco:ANNOTATIONS.json:IMAGES or voc:ROOT:SPLIT")
    names = register_dataset(name)
    dicts = DatasetCatalog.get(name)
    sizes = np.array([(d["height"], d["width"]) for d in dicts], float).reshape(-1, 2)
    boxes, counts, files = [], Counter(), {}
    for number, image in enumerate(dicts):
        for ann in image["annotations"]:
            x0, y0, x1, y1 = BoxMode.convert(list(map(float, ann["bbox"])), ann["bbox_mode"], BoxMode.XYXY_ABS)
            if min(x1 - x0, y1 - y0) > 0 and not ann.get("iscrowd", 0):
                boxes.append((x1 - x0, y1 - y0, number))
                counts[names[ann["category_id"]]] += 1
                files[image["file_name"]] = None
    if not boxes:
        raise UserError(f"{option} {name}: none of its {len(dicts)} images has a box")
    return Facts(name, sizes, np.array(boxes, float), {name: counts[name] for name in names}, list(files))


def check_sets(train: Facts, test: Facts | None) -> None:
    """Raise a UserError if there are too few images to hold some out, or both sets have other classes."""
    if len(train.files) < FEWEST_IMAGES:
        raise UserError(f"{train.name}: {len(train.files)} images with boxes; a detector needs at least "
                        f"{FEWEST_IMAGES}, some of which are held out")
    if test and list(train.classes) != list(test.classes):
        raise UserError(f"--train and --test have other classes: {', '.join(train.classes)} and "
                        f"{', '.join(test.classes)}")


def hold_out(name: str, count: int, folder: str, *called: str) -> tuple:
    """
    Hold images out of a data set; equal every time.

    Args:
        name: ``coco:ANNOTATIONS.json:IMAGES`` or ``voc:ROOT:SPLIT``.
        count: images to hold out.
        folder: for the files. ROOT may be read-only, so a folder of its name there gets the new splits, and links to
            its annotations and images.
        called: names of the rest and of what is held out, such as "search" and "holdout".

    Returns:
        the names of both data sets.
    """
    form, place, other = parse_dataset_name(name)
    files = (split_coco if form == "coco" else split_voc)(count, 0, place, other)
    # The name of the folder decides how AP is measured.
    linked = os.path.join(folder, os.path.basename(os.path.abspath(place)))
    if form == "coco":
        paths = [os.path.join(folder, f"{what}.json") for what in called]
        names = [f"coco:{path}:{other}" for path in paths]
    else:
        paths = [image_set_file(linked, what) for what in called]
        names = [f"voc:{linked}:{what}" for what in called]
    try:
        if form == "voc":
            _link(place, linked)
        # A plan that was not finished may have held out others.
        write_split([file._replace(path=path) for file, path in zip(files, paths)], overwrite=True)
    except OSError as e:
        raise UserError(f"no images can be held out of {name}, since {e.filename or folder} cannot be written: "
                        f"{e.strerror}") from None
    return tuple(names)


def _link(root, linked):
    """Let a folder hold links to annotations and images of a ROOT in VOC form."""
    os.makedirs(linked, exist_ok=True)
    for name in ("Annotations", "JPEGImages"):
        link, target = os.path.join(linked, name), os.path.realpath(os.path.join(root, name))
        # It may link to another ROOT of this name.
        if os.path.realpath(link) != target:
            if os.path.lexists(link):
                os.remove(link)
            os.symlink(target, link)
