"""Reads annotations in YOLO format: a data.yaml, and a text file for each image with boxes as shares of its size."""

import os
from typing import List, Tuple

import yaml
from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager

from detnas.errors import UserError
from detnas.files import read_text

from .clean import CleanSet, Collector
from .voc import IMAGE_ENDINGS

#: how far a share may be below 0 or above 1
_ROUNDING = 1e-3


def read_yolo(file: str, split: str) -> CleanSet:
    """Read "train", "val" or "test" of a data.yaml: an image folder, a text file of paths, or a list of these."""
    content, classes = _read_yaml(file)
    found = Collector(f"{file}, {split}")
    for image in _images(file, content, split):
        label = _label_file(image)
        record = found.add_image(label, image, None, source=label)
        if record is None:
            continue
        if not PathManager.isfile(label):
            found.mend("images without a label file, which are taken to have no box", image)
            continue
        for number, line in enumerate(read_text(label, PathManager).splitlines(), 1):
            if line.strip():
                _read_line(line, f"{label}: line {number}", record, classes, found)
    if not any(image["annotations"] for image in found.images) and not found.problems:
        raise UserError(f"{file}: none of the {len(found.images)} images of {split} has a box")
    return found.finish(classes)


def _read_yaml(file):
    text = read_text(file, PathManager)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise UserError(f"{file}: not a yaml file: {e}") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise UserError(f'{file}: "names" has the numbers {list(names)}; they count from 0')
        names = [names[number] for number in range(len(names))]
    if not (names and isinstance(names, list)):
        raise UserError(f'{file}: no "names", the list of classes; this is not a data.yaml of YOLO form')
    names = [str(name).strip() for name in names]
    twice = {name for name in names if names.count(name) > 1 or not name}
    if twice:
        raise UserError(f'{file}: "names" has {", ".join(map(repr, sorted(twice)))} twice, or empty')
    return content, names


def yolo_splits(file: str) -> List[str]:
    """Return which of "train", "val" and "test" a data.yaml has."""
    content, _ = _read_yaml(file)
    return [split for split in ("train", "val", "test") if content.get(split)]


def _images(file, content, split):
    """Return the image paths of a split, sorted."""
    places = content.get(split)
    if not places:
        raise UserError(f'{file}: it has no "{split}"; it has {", ".join(yolo_splits(file)) or "no split"}')
    found = []
    for place in places if isinstance(places, list) else [places]:
        path = _find(file, content, str(place))
        if PathManager.isfile(path):
            lines = read_text(path, PathManager).splitlines()
            found += [_find(path, {}, line.strip()) for line in lines if line.strip()]
        else:
            found += _images_below(path)
    if not found:
        raise UserError(f'{file}: there is no image in "{split}", {places}')
    return sorted(found)


def _images_below(folder):
    for name in sorted(PathManager.ls(folder)):
        path = os.path.join(folder, name)
        if name.lower().endswith(IMAGE_ENDINGS) and not name.startswith("._"):
            yield path
        elif PathManager.isdir(path):
            yield from _images_below(path)


def _find(file, content, place):
    """Find a path of a data.yaml, from its "path" or its folder. Exports may have too many "../" in front."""
    folder = os.path.dirname(file)
    root = os.path.join(folder, str(content.get("path") or ""))
    plain = place.replace("\\", "/")
    tried = [os.path.join(base, p) for p in (plain, plain.lstrip("./")) for base in (root, folder)]
    for path in map(os.path.normpath, tried):
        if PathManager.exists(path):
            return path
    raise UserError(f"{file}: {place} does not exist; tried: {', '.join(dict.fromkeys(tried))}")


def _label_file(image: str) -> str:
    """Return labels/NAME.txt for images/NAME.jpg, by the last folder "images", else NAME.txt beside the image."""
    folder, name = os.path.split(os.path.splitext(image)[0] + ".txt")
    before, found, after = f"{folder}/".rpartition("/images/")
    return os.path.join(f"{before}/labels/{after}", name) if found else os.path.join(folder, name)


def _read_line(line, place, image, classes, found):
    try:
        number, *shares = map(float, line.split())
    except ValueError:
        return found.refuse(f'{place} is "{line.strip()[:60]}", not numbers: class x y width height')
    if number not in range(len(classes)):
        return found.refuse(f"{place}: class {number:g}; there are 0 to {len(classes) - 1}")
    if not (len(shares) == 4 or (len(shares) >= 6 and len(shares) % 2 == 0)):
        return found.refuse(f"{place} has {len(shares) + 1} numbers; a box has 5: class x y width height")
    if not all(-_ROUNDING <= share <= 1 + _ROUNDING for share in shares):
        return found.refuse(f"{place}: {line.strip()[:60]}: x, y, width and height are shares of the image, 0 to 1")
    found.add_box(place, image, _corners(shares, image["width"], image["height"]), BoxMode.XYXY_ABS, int(number))


def _corners(shares, width, height) -> Tuple[float, float, float, float]:
    if len(shares) > 4:  # a polygon
        x0, y0, x1, y1 = min(shares[::2]), min(shares[1::2]), max(shares[::2]), max(shares[1::2])
    else:
        x, y, w, h = shares
        x0, y0, x1, y1 = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    return x0 * width, y0 * height, x1 * width, y1 * height
