"""Collects images and boxes of all formats, corrects small faults, and reports the others with file and place."""

import math
import os
import unicodedata
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager
from PIL import Image

from detnas.errors import UserError

from .reading import check_depth, why_unreadable

#: A box may reach this far out of its image, by the larger of pixels and share of the side, and is cut.
OUTSIDE, OUTSIDE_SHARE = 5, 0.01
#: pixels outside the image that count as rounding
_ROUNDING = 0.01
#: EXIF tag of the orientation, and its values that swap width and height
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)


class CleanSet(NamedTuple):
    """
    A data set in the package's format, with small faults corrected.

    Attributes:
        classes: Class names. A category_id is an index into them.
        images: Detectron2's dataset dicts with "file_name" (as on the disk), "image_id" (from 1), "height", "width"
            (in pixels), "source" (annotation file) and "annotations". An annotation has "bbox" (floats), "bbox_mode",
            "category_id", "iscrowd", "area", and "difficult" in VOC format. "exif" is "stored" where boxes refer to
            pixels as stored. Otherwise they refer to the image as EXIF orients it.
        said, doubts: Sentences, one for each kind of correction, and of probable mistake that is kept.
    """

    classes: Tuple[str, ...]
    images: List[Dict[str, Any]]
    said: List[str]
    doubts: List[str]


class Collector:
    """Builds a :class:`CleanSet` from what a reader finds. Messages begin with ``source``, its file or folder."""

    def __init__(self, source: str):
        self.source = source
        self.images: List[Dict[str, Any]] = []
        self.problems: List[str] = []
        self.files: Dict[str, Any] = {}
        self.outside: List[tuple] = []  # (box, image size) of refused boxes
        self._counts: Dict[str, list] = {}
        self._doubts: Dict[str, list] = {}

    def mend(self, what: str, place: Any) -> None:
        """Count a correction, which ``what`` describes in the plural. The report names the first place."""
        self._counts.setdefault(what, [0, place])[0] += 1

    def doubt(self, what: str, place: Any) -> None:
        """Count a probable mistake that is kept, like :meth:`mend`."""
        self._doubts.setdefault(what, [0, place])[0] += 1

    def refuse(self, sentence: str) -> None:
        self.problems.append(sentence)

    def add_image(self, place: str, file: str, size: Optional[Sequence], shown: Any = None,
                  source: Optional[str] = None) -> Optional[Dict[str, Any]]:
        """
        Check an image file, and return its dataset dict, or None if the image cannot be used.

        Args:
            place: where the annotations name the image, such as "a.json: image 7".
            size: (width, height) in pixels as annotated, or None. The file's size replaces all but positive numbers.
            shown: the image's name in the annotations, by default ``file``.
            source: the image's annotation file, by default that of all images.
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
            self.mend("images without a size, which is taken from their files", name)
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
        """Add a box of mode XYXY_ABS or XYWH_ABS to an image's dict. ``more`` has other fields, such as "iscrowd"."""
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
        """Return the data set. Raises :class:`Unusable` with the first problem and the number of further ones."""
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
    """A data set that cannot be used. ``problems`` has one sentence for each reason."""

    def __init__(self, message: str, problems: Sequence[str]):
        super().__init__(message)
        self.problems = list(problems)


class ImageFiles:
    """Finds images in a folder, also by names with backslashes, unknown folders or another Unicode form."""

    def __init__(self, root: str):
        self.root, self._listed = root, {}

    def find(self, name: str) -> Optional[Tuple[str, bool]]:
        """Return the path, and whether the name has an unknown folder or backslashes, or None without such a file."""
        plain = name.replace("\\", "/")
        for tried in (name, *(plain.split("/", n)[-1] for n in range(plain.count("/") + 1))):
            if path := self._there(tried):
                return path, tried != name
        return None

    def _there(self, name):
        if os.path.isabs(name) or os.path.normpath(name).startswith(os.pardir):
            return None  # outside of the folder
        folder, base = os.path.split(os.path.join(self.root, name))
        if folder not in self._listed:
            there = PathManager.ls(folder) if PathManager.isdir(folder) else []
            composed = {unicodedata.normalize("NFC", found): found for found in there}
            self._listed[folder] = {**composed, **{found: found for found in there}}
        names = self._listed[folder]
        found = names.get(base) or names.get(unicodedata.normalize("NFC", base))
        return os.path.join(folder, found) if found else None


def read_header(file: str) -> Tuple[int, int, int]:
    """Return width and height in pixels as stored, and the EXIF orientation, 1 to 8, without reading the pixels."""
    with PathManager.open(file, "rb") as f, Image.open(f) as image:
        check_depth(image)
        has_exif = image.format != "PNG" or "exif" in image.info  # Pillow would read a whole PNG to look for it
        orientation = image.getexif().get(_ORIENTATION, 1) if has_exif else 1
        return image.width, image.height, orientation if orientation in range(1, 9) else 1


def _size(size):
    """Return (width, height) as positive ints, or None for anything else."""
    try:
        width, height = (round(float(side)) for side in size)
    except (TypeError, ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None
