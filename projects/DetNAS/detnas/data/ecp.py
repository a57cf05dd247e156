"""Reads label and detection files of EuroCity Persons (Braun et al., TPAMI 2019), one JSON file for each frame."""

import json
import math
import os
import re
from collections import Counter
from typing import Any, Dict, List, NamedTuple

from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager

from detnas.errors import UserError
from detnas.files import NUMBER, fits, read_text

from .clean import CleanSet, Collector
from .voc import by_stem

#: identities that a box may have
IDENTITIES = set("""pedestrian rider bicycle motorbike scooter tricycle wheelchair buggy co-rider person-group-far-away
    rider+vehicle-group-far-away bicycle-group motorbike-group scooter-group tricycle-group wheelchair-group
    buggy-group""".split())
#: types of boxes that are evaluated, and the size of all images in pixels
TYPES, WIDTH, HEIGHT = ("pedestrian", "rider"), 1920, 1024
#: type -> identity of its groups, whose detections are neither right nor wrong
_GROUPS = {"pedestrian": "person-group-far-away", "rider": "rider+vehicle-group-far-away"}


class Difficulty(NamedTuple):
    """Limits of boxes that count: height in pixels, occlusion and (``below`` only) truncation in percent of the box."""

    lowest: float
    highest: float
    below: float
    occluded: float = 0


DIFFICULTIES = {
    "reasonable": Difficulty(40, math.inf, 40), "small": Difficulty(30, 60, 40),
    "occluded": Difficulty(40, math.inf, 80, 40), "all": Difficulty(20, math.inf, 80),
}
#: Roles of a label. A detection is neither right nor wrong if an ignored label overlaps (IoU) or covers it enough.
COUNTED, BY_OVERLAP, BY_COVERAGE, LEFT_OUT = range(4)
#: what older detection files call a rider
CYCLIST = "cyclist"
_SIDES = ("x0", "y0", "x1", "y1")
_BOX: Dict[str, Any] = {"identity": str, **dict.fromkeys(_SIDES, NUMBER), "tags?": [str], "": object}
_LABEL, _DETECTION = {**_BOX, "children?": [_BOX]}, {**_BOX, "score": NUMBER}
#: a tag whose percentage is not a whole number
_NO_NUMBER, _PERCENT = re.compile(r"(occluded|truncated)>(?![0-9]{1,9}$).*"), re.compile("[0-9]{1,9}")


def read_frame(file: str, unknown: Counter, detections: bool = False) -> List[Dict[str, Any]]:
    """
    Read the boxes of a frame as dicts with "identity" and "x0", "y0", "x1", "y1" in pixels. Labels may have "tags" and
    "children", detections have a "score". ``unknown`` counts identities and tags that EuroCity Persons does not have.
    Raises a UserError if the file has no frame, or a box is faulty.
    """
    text = read_text(file, PathManager)
    try:
        frame = [json.loads(text)]
    except (ValueError, RecursionError) as e:
        raise UserError(f"{file}: not a JSON file: {e}") from None
    while not (isinstance(frame, dict) and frame.get("identity") == "frame"):
        frame = frame.get("children") if isinstance(frame, dict) else frame[0]
        if not (frame and isinstance(frame, (dict, list))):
            raise UserError(f'{file}: no object with "identity" frame, as label files of EuroCity Persons have')
    boxes, form = frame.get("children", []), _DETECTION if detections else _LABEL
    if not isinstance(boxes, list):
        raise UserError(f'{file}: "children" of its frame is no list')
    for number, box in enumerate(boxes):
        if not fits(box, form):
            raise UserError(f"{file}: children[{number}] is no box with identity, x0, y0, x1, y1"
                            f"{' and score' * detections}: {str(box)[:100]}")
        for each in (box, *([] if detections else box.get("children", ()))):
            if each["x1"] < each["x0"] or each["y1"] < each["y0"]:
                raise UserError(f"{file}: children[{number}] has x1 below x0, or y1 below y0: {str(each)[:100]}")
            if each["identity"] not in IDENTITIES and not (detections and each["identity"] == CYCLIST):
                unknown[each["identity"]] += 1
        unknown.update(tag for tag in box.get("tags", ()) if _NO_NUMBER.fullmatch(tag))
    return boxes


def box_of(one: Dict[str, Any], with_children: bool = False) -> List[float]:
    """Return [x0, y0, x1, y1], cut at the image. ``with_children``: a rider's box also encloses its children."""
    boxes = [one, *(one.get("children", ()) if with_children and one["identity"] == "rider" else ())]
    sides = [of(each[key] for each in boxes) for of, key in zip((min, min, max, max), _SIDES)]
    return [min(max(float(side), 0.0), most) for side, most in zip(sides, (WIDTH, HEIGHT, WIDTH, HEIGHT))]


def judge(kind: str, limits: Difficulty, label: Dict[str, Any], height: float, ignore_others: bool = False) -> int:
    """Return the role of a label of this height in pixels for type ``kind``: COUNTED, BY_OVERLAP, ..., LEFT_OUT."""
    identity, tags = label["identity"], label.get("tags", ())
    if identity == _GROUPS[kind]:
        return LEFT_OUT if kind == "pedestrian" and "depiction" in tags else BY_COVERAGE
    if identity != kind:
        return BY_OVERLAP if ignore_others and identity in TYPES else LEFT_OUT
    if kind == "pedestrian" and ("sitting-lying" in tags or "behind-glass" in tags):
        return BY_OVERLAP
    numbers = [tag.partition(">") for tag in tags]
    occluded, truncated = (
        max((int(percent) for word, _, percent in numbers if word == what and _PERCENT.fullmatch(percent)), default=0)
        for what in ("occluded", "truncated"))
    seen = limits.occluded <= occluded < limits.below and truncated < limits.below
    return COUNTED if seen and limits.lowest <= height <= limits.highest else BY_OVERLAP


def read_ecp(root: str, part: str) -> CleanSet:
    """
    Read the pedestrians and riders of a part, such as "day/train", from ROOT/day/labels/train/CITY/NAME.json and
    ROOT/day/img/train/CITY/NAME.png. Boxes that every difficulty ignores are crowds. A rider's box covers its vehicle.
    """
    time, _, split = part.partition("/")
    labels, images = (os.path.join(root, time, kind, split) for kind in ("labels", "img"))
    if not PathManager.isdir(labels):
        raise UserError(f"{labels} does not exist; {root} is to have a folder such as day/labels/train")
    found, unknown = Collector(labels), Counter()
    for city in sorted(PathManager.ls(labels)):
        there = os.path.join(labels, city)
        pictures = by_stem(os.path.join(images, city), (".png",))
        for name, label_file in by_stem(there, (".json",)).items():
            file = os.path.join(there, label_file)
            if name not in pictures:
                found.refuse(f"{file}: there is no image {os.path.join(images, city, name)}.png")
                continue
            record = found.add_image(file, os.path.join(images, city, pictures.pop(name)), None, source=file)
            if record is None:
                continue
            for number, label in enumerate(read_frame(file, unknown)):
                box = box_of(label, with_children=True)
                if not (box[2] > box[0] and box[3] > box[1]):
                    found.mend("boxes outside their images, which are left out", file)
                    continue
                for category, kind in enumerate(TYPES):
                    judged = judge(kind, DIFFICULTIES["all"], label, box[3] - box[1])
                    if judged != LEFT_OUT:
                        place = f"{file}: children[{number}]"
                        found.add_box(place, record, box, BoxMode.XYXY_ABS, category, iscrowd=int(judged != COUNTED))
        for name in pictures.values():
            found.mend("images without a label file, which are left out", os.path.join(images, city, name))
    for word, count in unknown.items():
        found.mend(f'"{word}", which EuroCity Persons does not have, {count} times', labels)
    if not any(image["annotations"] for image in found.images) and not found.problems:
        raise UserError(f"{labels} has no pedestrian and no rider")
    return found.finish(TYPES)
