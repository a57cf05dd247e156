"""Checks annotations and images; each problem is a sentence that names the file."""

import json
import os
import xml.etree.ElementTree as ET

from detectron2.utils.file_io import PathManager

from detnas.errors import UserError

from .reading import read_image, why_unreadable


def read_coco_json(json_file):
    """Read a COCO annotation file; UserError, naming it, if it is none."""
    with PathManager.open(json_file) as f:
        try:
            data = json.load(f)
        except ValueError as e:
            raise UserError(f"{json_file}: not a JSON file: {e}") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or key not in data:
            raise UserError(f'{json_file}: no "{key}"; this is not a COCO annotation file')
        if not data[key]:
            raise UserError(f'{json_file}: "{key}" is empty; a data set needs images with annotated objects')
    return data


def coco_problems(data, json_file, image_root, flat_too=False):
    """
    A sentence for each image or annotation that would fail in the middle of a training, or silently spoil it, with its
    id; with ``flat_too`` also for boxes with a side of 0, of which COCO's own train2017 has two. No image is opened.
    """
    images, categories, ids = {}, set(), set()
    there = set(PathManager.ls(image_root))
    for image in data["images"]:
        where = f'{json_file}: image {image.get("id")}'
        if missing := _missing(image, ("id", "file_name", "width", "height")):
            yield where + missing
            continue
        images[image["id"]] = image
        # One listing of the folder answers for all images that lie in it directly.
        if image["file_name"] not in there and not PathManager.isfile(os.path.join(image_root, image["file_name"])):
            yield f'{where}: {image["file_name"]} is not in {image_root}'
    for category in data["categories"]:
        if missing := _missing(category, ("id", "name")):
            yield f"{json_file}: a category{missing}"
        categories.add(category.get("id"))
    for ann in data["annotations"]:
        if problem := _annotation_problem(ann, images, categories, ids, flat_too):
            yield f'{json_file}: annotation {ann.get("id")}{problem}'
        ids.add(ann.get("id"))


def _annotation_problem(ann, images, categories, ids, flat_too):
    if missing := _missing(ann, ("id", "image_id", "category_id", "bbox", "area", "iscrowd")):
        return missing
    if ann["id"] in ids:
        return ": another annotation has the same id"
    if ann["image_id"] not in images:
        return f': image {ann["image_id"]} is not among the images'
    if ann["category_id"] not in categories:
        return f': category {ann["category_id"]} is not among the categories'
    box, image = ann["bbox"], images[ann["image_id"]]
    if not (isinstance(box, list) and len(box) == 4 and all(isinstance(side, (int, float)) for side in box)):
        return f": box {box} is not four numbers (x, y, w, h)"
    x, y, w, h = box
    if not _inside(x, y, x + w, y + h, image["width"], image["height"]):
        size = f'{image["width"]}x{image["height"]}'
        return f': box {box} (x, y, w, h) is outside its image {image["id"]} ({size})'
    return f": box {box} (x, y, w, h) has a width or height of 0" if flat_too and 0 in (w, h) else None


def _missing(record, keys):
    return next((f': no "{key}"' for key in keys if key not in record), "")


def _inside(x0, y0, x1, y1, width, height):
    """Whether a box lies in its image, give or take a pixel, as COCO's own boxes do; False for NaN."""
    return -1 <= x0 <= x1 <= width + 1 and -1 <= y0 <= y1 <= height + 1


def read_voc_xml(file):
    """Class names of the objects of an annotation, (width, height), and a sentence for each box that is not sound."""
    try:
        tree = ET.parse(file)
        size = [float(tree.findtext(f"size/{side}")) for side in ("width", "height")]
        objects = [
            (obj.findtext("name"), [float(obj.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")])
            for obj in tree.findall("object")
        ]
    except (ET.ParseError, TypeError, ValueError) as e:
        kind = "not an XML file" if isinstance(e, ET.ParseError) else "a size or a box is missing or no number"
        raise UserError(f"{file}: {kind}: {e}") from None
    problems = [
        f"{file}: box {box} of {class_name} (xmin, ymin, xmax, ymax) is outside its image {size}"
        for class_name, box in objects
        if not _inside(*box, *size)
    ]
    return [class_name for class_name, _ in objects], size, problems


def image_problem(file, size=None, source=""):
    """A sentence if an image cannot be read, or has another (width, height) than ``source`` says; else None."""
    try:
        height, width = read_image(file, "RGB").shape[:2]
    except Exception as e:  # Pillow raises many kinds
        return f"{file}: cannot be read as an image: {why_unreadable(e)}"
    if size is not None and (width, height) != tuple(size):
        return f"{file}: it has {width}x{height} pixels, but {source} says {size[0]:.0f}x{size[1]:.0f}"
    return None
