"""Reads label and detection files of EuroCity Persons (Braun et al., TPAMI 2019): a JSON file for each frame."""

import re
from collections import Counter
from typing import Any, Dict, List

from detectron2.utils.file_io import PathManager

from detnas.errors import UserError
from detnas.files import NUMBER, fits, read_json

#: what a box may be
IDENTITIES = set("""pedestrian rider bicycle motorbike scooter tricycle wheelchair buggy co-rider person-group-far-away
    rider+vehicle-group-far-away bicycle-group motorbike-group scooter-group tricycle-group wheelchair-group
    buggy-group""".split())
#: of detections: older ones have it for a rider
CYCLIST = "cyclist"
_SIDES = ("x0", "y0", "x1", "y1")
_BOX: Dict[str, Any] = {"identity": str, **dict.fromkeys(_SIDES, NUMBER), "tags?": [str], "": object}
_LABEL, _DETECTION = {**_BOX, "children?": [_BOX]}, {**_BOX, "score": NUMBER}
#: a tag that should have a number, in percent
_NO_NUMBER = re.compile(r"(occluded|truncated)>(?!\d+$).*")


def read_frame(file: str, unknown: Counter, detections: bool = False) -> List[Dict[str, Any]]:
    """
    The boxes of a frame, {"identity", "x0", "y0", "x1", "y1" in pixels, ...} each, however the file wraps it.

    Args:
        unknown: counts identities and tags that EuroCity Persons does not have.
        detections: whether they have a "score".

    Raises:
        UserError: if the file is none of a frame, or a box is not sound.
    """
    frame = read_json(file, path_manager=PathManager)
    while not (isinstance(frame, dict) and frame.get("identity") == "frame"):
        inner = frame.get("children") if isinstance(frame, dict) else frame
        frame = inner[0] if isinstance(inner, list) and inner else inner
        if not isinstance(frame, (dict, list)):
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
