"""Reads annotations in COCO format."""

import json
import logging
import math
import re
from collections import Counter

from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager
from tqdm import tqdm

from detnas.errors import UserError

from .clean import CleanSet, Collector, ImageFiles, Unusable

#: bytes from which reading takes seconds and is announced
LARGE = 20_000_000
_CROWD = {None: 0, 0: 0, 1: 1, "0": 0, "1": 1, "": 0}  # False and True are 0 and 1

logger = logging.getLogger(__name__)


def read_coco(json_file: str, image_root: str) -> CleanSet:
    """Read a COCO file. Ids may be numbers or texts. Raises a UserError with file and place if it is unusable."""
    data = load_json(json_file)
    found, files = Collector(json_file), ImageFiles(image_root)
    categories = _read_categories(data, found)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(categories.values()))}
    by_key, seen = {}, set()
    for number, image in enumerate(_progress(data["images"], "images")):
        _read_image(image, f"{json_file}: images[{number}]", found, files, by_key)
    found.images = [record for key in sorted(by_key, key=_order) if (record := by_key[key][0])]  # Detectron2's order
    annotations = data["annotations"]
    for number in _progress(range(len(annotations)), "annotations"):
        ann, annotations[number] = annotations[number], None  # free it: the clean form takes as much memory again
        _read_annotation(ann, f"{json_file}: annotations[{number}]", found, by_key, categories, numbers, seen)
    if _look_like_corners(found):
        found.problems = [f"{json_file}: its boxes look like corners (x0, y0, x1, y1); COCO form has (x, y, w, h)"]
    elif not found.outside and max((max(a["bbox"]) for i in found.images for a in i["annotations"]), default=2) <= 1:
        found.problems = [f"{json_file}: its boxes look relative, from 0 to 1; COCO form has them in pixels"]
    return found.finish(list(numbers))


def load_json(json_file):
    """Load a COCO annotation file. Raises a UserError that names the file if it is not one."""
    with PathManager.open(json_file, "rb") as f:
        text = f.read()
    if len(text) > LARGE:
        logger.warning(f"Reading {json_file}, {len(text) / 1e6:.0f} MB ...")  # a warning, seen in tools without a log
    try:
        text = text.decode(json.detect_encoding(text))  # frees the bytes, and knows byte order marks
        data = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UserError(f"{json_file}: not a JSON file: {e}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or key not in data:
            raise UserError(f'{json_file}: no "{key}"; this is not a COCO annotation file')
        if not data[key]:
            raise UserError(f'{json_file}: "{key}" is empty; a data set needs images with annotated objects')
        if not isinstance(data[key], list):
            raise UserError(f'{json_file}: "{key}" is {_text(data[key])}; COCO form has a list there')
    return data


def _read_categories(data, found):
    """Return {id: class name}, sorted by id, without unused classes that are parents or share another's name."""
    boxes = Counter(_key(ann.get("category_id")) for ann in data["annotations"] if isinstance(ann, dict))
    names, parents = {}, set()
    for number, category in enumerate(data["categories"]):
        place = f"{found.source}: categories[{number}]"
        if not isinstance(category, dict):
            raise Unusable(f"{place} is {_text(category)}, no object", [])
        key, name = _key(category.get("id")), category.get("name")
        name = str(name).strip() if isinstance(name, (str, int, float)) and not isinstance(name, bool) else None
        if key is None or not name:
            field = "name" if key is not None else "id"
            raise Unusable(f'{place}: its "{field}" is {_shown(category, field)}', [])
        if key in names:
            raise Unusable(f'{place}: categories "{names[key]}" and "{name}" have the same id {key}', [])
        names[key] = name
        if isinstance(category.get("supercategory"), str) and category["supercategory"].strip() != name:
            parents.add(category["supercategory"].strip())
    for key, name in list(names.items()):
        same = [k for k, n in names.items() if n == name]
        if len(same) > 1 and sum(boxes[k] > 0 for k in same) > 1:
            both = f'categories {" and ".join(same)} are both called "{name}" and have boxes'
            raise Unusable(f"{found.source}: {both}", [])
        if not boxes[key] and (name in parents or len(same) > 1):
            why = "is the parent of others" if name in parents else "has the name of another one"
            found.mend("classes without a box, which are left out", f'"{name}", which {why}')
            del names[key]
    if not names:
        raise Unusable(f"{found.source}: no annotation is of any of its categories", [])
    return dict(sorted(names.items(), key=lambda item: _order(item[0])))


def _read_image(image, place, found, files, by_key):
    if not isinstance(image, dict):
        return found.refuse(f"{place} is {_text(image)}, no object")
    key, name = _key(image.get("id")), image.get("file_name")
    if key is None:
        return found.refuse(f'{place}: its "id" is {_shown(image, "id")}')
    place = f"{found.source}: image {key}"
    if not isinstance(name, str) or not name.strip():
        return found.refuse(f'{place}: its "file_name" is {_shown(image, "file_name")}')
    if key in by_key:
        return found.refuse(f"{place}: {by_key[key][1]} and {name} have the same id")
    by_key[key] = None, name
    if "://" in name:
        return found.refuse(f"{place}: {name} is a URL: download the images, and name their files")
    path = files.find(name)
    if path is None:
        return found.refuse(f"{place}: {name} is not in {files.root}")
    if path[1]:
        found.mend("file names with another folder or backslashes in front", name)
    by_key[key] = found.add_image(place, path[0], (image.get("width"), image.get("height")), name), name


def _read_annotation(ann, place, found, by_key, categories, numbers, seen):
    if not isinstance(ann, dict):
        return found.refuse(f"{place} is {_text(ann)}, no object")
    key = _key(ann.get("id"))
    if key is None:
        return found.refuse(f'{place}: its "id" is {_shown(ann, "id")}')
    place = f"{found.source}: annotation {key}"
    if key in seen:
        return found.refuse(f"{place}: another annotation has the same id")
    seen.add(key)
    image, category = _key(ann.get("image_id")), _key(ann.get("category_id"))
    if image not in by_key:
        return found.refuse(f'{place}: image {_shown(ann, "image_id")} is not among the images')
    if category not in categories:
        return found.refuse(f'{place}: category {_shown(ann, "category_id")} is not among the categories')
    box = ann.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(type(side) in (int, float) for side in box)):
        return found.refuse(f'{place}: its "bbox" is {_shown(ann, "bbox")}, not four numbers (x, y, w, h)')
    try:
        crowd = max(_CROWD[ann.get("iscrowd")], _CROWD[ann.get("ignore")])
    except (KeyError, TypeError):
        return found.refuse(f'{place}: its "iscrowd" is {_shown(ann, "iscrowd")}, "ignore" {_shown(ann, "ignore")}; '
                            "both are 0 or 1")
    record = by_key[image][0]
    if record is None:
        return None  # the fault of its image is reported already
    more = {"iscrowd": crowd}
    if type(ann.get("area")) in (int, float) and 0 < ann["area"] < math.inf:
        more["area"] = float(ann["area"])
    if _is_mask(ann.get("segmentation")):
        more["segmentation"] = ann["segmentation"]
    if isinstance(ann.get("keypoints"), list):
        more["keypoints"] = ann["keypoints"]
    found.add_box(place, record, box, BoxMode.XYWH_ABS, numbers[categories[category]], **more)


def _is_mask(segmentation):
    """Whether it is a COCO mask: polygons of three or more points, or run lengths. Some tools write less."""
    if isinstance(segmentation, dict):
        return {"counts", "size"} <= segmentation.keys()
    return bool(segmentation) and isinstance(segmentation, list) and all(
        isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in segmentation
    )


def _look_like_corners(found):
    """Whether some boxes leave their images as (x, y, w, h), but all lie inside as (x0, y0, x1, y1)."""
    boxes = [(ann["bbox"], (image["width"], image["height"])) for image in found.images for ann in image["annotations"]]
    return found.outside and all(
        0 <= a < c <= width and 0 <= b < d <= height for (a, b, c, d), (width, height) in [*boxes, *found.outside]
    )


def _progress(items, words):
    return tqdm(items, desc=words, unit="", leave=False, disable=None if len(items) > 100_000 else True)


def _key(value):
    """Return an id as text, so that 1 and "1" are equal, or None if it is no id."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return str(int(value)) if math.isfinite(value) and value == int(value) else None


def _order(key):
    return (0, int(key), "") if re.fullmatch("-?[0-9]{1,18}", key) else (1, 0, key)


def _shown(record, field):
    """Return a field as text for a message."""
    return _text(record[field]) if field in record else "missing"


def _text(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
