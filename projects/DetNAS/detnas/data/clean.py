"""
The one form in which the package has boxes, whatever form a person has them in: what can be mended is mended, counted
and said; what cannot be is a sentence with file and place.
"""

import math
import os
import unicodedata
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager
from PIL import Image

from detnas.errors import UserError

from .reading import check_depth, why_unreadable

#: A box may reach so far out of its image, in pixels or as a share of the side, and is cut there.
OUTSIDE, OUTSIDE_SHARE = 5, 0.01
#: what is less is rounding
_ROUNDING = 0.01
#: EXIF tag of the orientation, and those of its values that turn an image on its side
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)


class CleanSet(NamedTuple):
    """
    A data set in clean form.

    Attributes:
        classes: their names; a category_id is an index into them.
        images: dataset dicts of Detectron2: "file_name" as it is on the disk, "image_id" from 1, "height", "width",
            "source" (the file that has its annotations), "annotations", each with "bbox" (floats), "bbox_mode",
            "category_id", "iscrowd", "area", and "difficult" in VOC form. "exif" is "stored" where boxes are on the
            pixels as stored, not as displayed.
        said: what was mended, a sentence each.
        doubts: what is sound and most likely a mistake, a sentence each.
    """

    classes: Tuple[str, ...]
    images: List[Dict[str, Any]]
    said: List[str]
    doubts: List[str]


class Collector:
    """
    Takes images and boxes as a reader finds them, and gives the :class:`CleanSet`.

    Args:
        source: the file or folder that they are of, at the head of what is said of all of it.
    """

    def __init__(self, source: str):
        self.source = source
        self.images: List[Dict[str, Any]] = []
        self.problems: List[str] = []
        self.files: Dict[str, Any] = {}
        self.outside: List[tuple] = []  # (box, size of its image) of those refused
        self._counts: Dict[str, list] = {}
        self._doubts: Dict[str, list] = {}

    def mend(self, what: str, place: Any) -> None:
        """Count something that was mended; ``what`` says it in the plural."""
        self._counts.setdefault(what, [0, place])[0] += 1

    def doubt(self, what: str, place: Any) -> None:
        """The same for what is taken as it is, though it looks wrong."""
        self._doubts.setdefault(what, [0, place])[0] += 1

    def refuse(self, sentence: str) -> None:
        self.problems.append(sentence)

    def add_image(self, place: str, file: str, size: Optional[Sequence], shown: Any = None,
                  source: Optional[str] = None) -> Optional[Dict[str, Any]]:
        """
        Args:
            place: where the image is named, such as "a.json: image 7".
            file: its path.
            size: (width, height) as the annotations have it; anything else than positive numbers is read from the file.
                None where the form has no sizes.
            shown: what names it in the annotations, if it is not the file.
            source: the file with its annotations; None: that of all images.

        Returns:
            its dataset dict, or None if it cannot be used.
        """
        name = file if shown is None else shown
        if file in self.files:
            self.doubt("files that are listed as two images", f"{name}, {place} and {self.files[file]}")
        self.files.setdefault(file, place.rpartition(": ")[2])
        try:
            width, height, orientation = read_header(file)
        except Exception as e:  # Pillow raises many kinds
            self.refuse(f"{place}: {name} cannot be read as an image: {why_unreadable(e)}")
            return None
        stored = width, height
        displayed = (height, width) if orientation in _TURNED else stored
        said = _size(size)
        if said is None and size is not None:
            self.mend("images without a size, which have that of their file", name)
        said = said or displayed
        if said not in (displayed, stored):
            self.refuse(f"{place}: {name} has {width}x{height} pixels, but the annotations say {said[0]}x{said[1]}")
            return None
        record = {"file_name": file, "width": said[0], "height": said[1], "source": source or self.source,
                  "annotations": []}
        if said != displayed:
            record["exif"] = "stored"
            self.mend("images with an EXIF orientation whose boxes are on the pixels as stored, by their size", name)
        elif orientation != 1:
            told = "by their size" if displayed != stored else "which their size does not tell"
            self.mend(f"images with an EXIF orientation, whose boxes are taken as displayed, {told}", name)
        self.images.append(record)
        return record

    def add_box(self, place: str, image: Dict[str, Any], box: Sequence[float], mode: BoxMode, category: int,
                **more: Any) -> None:
        """
        Give an image of :meth:`add_image` a box, of the mode XYXY_ABS or XYWH_ABS, that is named at ``place``; ``more``
        has other fields, such as "iscrowd".
        """
        a, b, c, d = box = list(map(float, box))
        corners = mode == BoxMode.XYXY_ABS
        x1, y1 = (c, d) if corners else (a + c, b + d)
        width, height = image["width"], image["height"]
        if not (-_ROUNDING <= a <= x1 <= width + _ROUNDING and -_ROUNDING <= b <= y1 <= height + _ROUNDING):
            far_x, far_y = (max(OUTSIDE, OUTSIDE_SHARE * side) for side in (width, height))
            if not (-far_x <= a <= x1 <= width + far_x and -far_y <= b <= y1 <= height + far_y):
                form = "xmin, ymin, xmax, ymax" if corners else "x, y, w, h"
                numbers = all(map(math.isfinite, box))
                why = f"is outside its image ({width}x{height})" if a <= x1 and b <= y1 else "has a negative side"
                why = why if numbers else "has what is no number"
                self.refuse(f"{place}: box {box} ({form}) {why}")
                self.outside.append((box, (width, height)))
                return
            a, b, x1, y1 = max(a, 0.0), max(b, 0.0), min(x1, float(width)), min(y1, float(height))
            box = [a, b, x1, y1] if corners else [a, b, max(x1 - a, 0.0), max(y1 - b, 0.0)]
            self.mend(f"boxes up to {OUTSIDE} pixels or 1% of the side outside their images, which are cut", place)
        if not (x1 > a and y1 > b):
            self.doubt("boxes with a width or height of 0, which a training leaves out and an evaluation counts "
                       "as missed", place)
        annotation = {"bbox": box, "bbox_mode": mode, "category_id": category, "iscrowd": 0, **more}
        if not annotation.get("area"):
            annotation["area"] = (x1 - a) * (y1 - b)
        image["annotations"].append(annotation)

    def finish(self, classes: Sequence[str]) -> CleanSet:
        """All of it; UserError, naming the first thing that cannot be used, and how many there are."""
        if self.problems:
            more = f" (and {len(self.problems) - 1} more like this)" if len(self.problems) > 1 else ""
            raise Unusable(self.problems[0] + more, self.problems)
        for number, image in enumerate(self.images, 1):
            image["image_id"] = number
            places = [(ann["category_id"], *ann["bbox"]) for ann in image["annotations"] if not ann["iscrowd"]]
            for _ in range(len(places) - len(set(places))):
                self.doubt("boxes that are there twice, with the same class and place", image["file_name"])
        return CleanSet(tuple(classes), self.images, self._sentences(self._counts), self._sentences(self._doubts))

    def _sentences(self, counts):
        places = {what: str(place).removeprefix(f"{self.source}: ") for what, (_, place) in counts.items()}
        return [f"{self.source}: {what}: {counts[what][0]}, the first: {places[what]}" for what in counts]


class Unusable(UserError):
    """A data set that cannot be used; ``problems`` has a sentence for each reason."""

    def __init__(self, message: str, problems: Sequence[str]):
        super().__init__(message)
        self.problems = list(problems)


class ImageFiles:
    """
    Finds the files that annotations name in a folder, also where the name came from another system: with backslashes,
    with a folder in front that is not there, or with letters and accents in another Unicode form.
    """

    def __init__(self, root: str):
        self.root, self._listed = root, {}

    def find(self, name: str) -> Optional[Tuple[str, bool]]:
        """The path, and whether the name has another folder or backslashes in front; None if there is no such file."""
        plain = name.replace("\\", "/")
        for tried in (name, *(plain.split("/", n)[-1] for n in range(plain.count("/") + 1))):
            if path := self._there(tried):
                return path, tried != name
        return None

    def _there(self, name):
        if os.path.isabs(name) or os.path.normpath(name).startswith(os.pardir):
            return None  # out of the folder
        folder, base = os.path.split(os.path.join(self.root, name))
        if folder not in self._listed:
            there = PathManager.ls(folder) if PathManager.isdir(folder) else []
            composed = {unicodedata.normalize("NFC", found): found for found in there}
            self._listed[folder] = {**composed, **{found: found for found in there}}
        names = self._listed[folder]
        found = names.get(base) or names.get(unicodedata.normalize("NFC", base))
        return os.path.join(folder, found) if found else None


def read_header(file: str) -> Tuple[int, int, int]:
    """Width and height of an image as stored, and its EXIF orientation, 1 to 8; its pixels are not read."""
    with PathManager.open(file, "rb") as f, Image.open(f) as image:
        check_depth(image)
        # Pillow would read all of a PNG for it.
        has_exif = image.format != "PNG" or "exif" in image.info
        orientation = image.getexif().get(_ORIENTATION, 1) if has_exif else 1
        return image.width, image.height, orientation if orientation in range(1, 9) else 1


def _size(size):
    """(width, height) as positive ints; None for anything else."""
    try:
        width, height = (round(float(side)) for side in size)
    except (TypeError, ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None
