"""Reads annotations in VOC format: an xml file for each image."""

import os
import unicodedata
import xml.etree.ElementTree as ET
from typing import Dict, List, Optional, Sequence

from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager

from detnas.errors import UserError
from detnas.files import read_text

from .clean import CleanSet, Collector

#: endings of image files; other files beside annotations are ignored
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".avif", ".ppm", ".pgm")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def image_set_file(folder: str, split: str) -> str:
    """Return the file that lists the images of a split."""
    return os.path.join(folder, "ImageSets", "Main", f"{split}.txt")


def read_ids(folder: str, split: str) -> List[str]:
    """Return the image ids of a split, such as ["000005"], in file order, without the 1, 0 or -1 of class lists."""
    text = read_text(image_set_file(folder, split), PathManager)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    of_class = lines and all(line.rpartition(" ")[0] and line.split()[-1] in ("1", "0", "-1") for line in lines)
    return [line.rpartition(" ")[0].strip() for line in lines] if of_class else lines


def splits(folder: str) -> List[str]:
    """Return the split names of a folder in VOC format."""
    lists = os.path.dirname(image_set_file(folder, ""))
    there = PathManager.ls(lists) if PathManager.isdir(lists) else []
    return sorted(file.removesuffix(".txt") for file in there if file.endswith(".txt"))


def read_voc(root: str, split: str, classes: Optional[Sequence[str]] = None) -> CleanSet:
    """Read a split, by default with the sorted classes of all splits. Raises a UserError if it is missing or faulty."""
    source = image_set_file(root, split)
    if not PathManager.isfile(source):
        flat = by_stem(root, (".xml",)) and f"; its own xml files are voc-flat:{root}"
        raise UserError(f'{source} does not exist; splits there: {", ".join(splits(root)) or "none"}{flat or ""}')
    found = Collector(source)
    ids = read_ids(root, split)
    if not ids:
        raise UserError(f"{source} names no image")
    annotations, images = (os.path.join(root, name) for name in ("Annotations", "JPEGImages"))
    xmls, files = by_stem(annotations, (".xml",)), by_stem(images, IMAGE_ENDINGS)
    if classes is None:
        classes = _classes([os.path.join(annotations, file) for file in xmls.values()])
    for twice in sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) < len(ids) else ():
        found.refuse(f"{source}: image {twice} occurs twice")
    for image_id in ids:
        stem = unicodedata.normalize("NFC", image_id)
        if stem not in xmls or stem not in files:
            place, what = (annotations, "xml file") if stem not in xmls else (images, "image file")
            found.refuse(f"{source}: image {image_id}: {place} has no {what} of this name")
            continue
        _read_xml(os.path.join(annotations, xmls[stem]), os.path.join(images, files[stem]), classes, found)
    return found.finish(classes)


def read_voc_flat(folder: str) -> CleanSet:
    """Read a folder with an xml file beside each image, from a labelling tool. Images without one are left out."""
    found, xmls, files = Collector(folder), by_stem(folder, (".xml",)), by_stem(folder, IMAGE_ENDINGS)
    if not xmls:
        raise UserError(f"{folder} has no xml file")
    classes = _classes([os.path.join(folder, file) for file in xmls.values()])
    for stem, xml in xmls.items():
        if stem in files:
            _read_xml(os.path.join(folder, xml), os.path.join(folder, files[stem]), classes, found)
        else:
            found.refuse(f"{os.path.join(folder, xml)}: no image of this name is beside it")
    for stem in files.keys() - xmls.keys():
        found.mend("images without an xml file, which are left out", files[stem])
    return found.finish(classes)


def by_stem(folder: str, endings: Sequence[str]) -> Dict[str, str]:
    """Return {name without ending: file}, sorted by name, with keys in Unicode's composed form (NFC)."""
    there = sorted(PathManager.ls(folder)) if PathManager.isdir(folder) else []
    # Archives of macOS have a ._NAME beside each NAME.
    files = [file for file in there if file.lower().endswith(tuple(endings)) and not file.startswith("._")]
    return {unicodedata.normalize("NFC", os.path.splitext(file)[0]): file for file in files}


def _classes(files):
    names = set()
    for file in files:
        try:
            names.update((obj.findtext("name") or "").strip() for obj in _parse(file).findall("object"))
        except (ET.ParseError, OSError):
            continue  # _read_xml reports it, if the split has it
    return sorted(names - {""})


def _parse(file):
    with PathManager.open(file, "rb") as f:
        return ET.parse(f).getroot()


def _read_xml(xml, file, classes, found):
    try:
        root = _parse(xml)
    except ET.ParseError as e:
        return found.refuse(f"{xml}: not an XML file: {e}")
    image = found.add_image(xml, file, [root.findtext(f"size/{side}") for side in ("width", "height")], source=xml)
    if image is None:
        return None
    for number, obj in enumerate(root.findall("object"), 1):
        place, name = f"{xml}: object {number}", (obj.findtext("name") or "").strip()
        if name not in classes:
            found.refuse(f"{place} is called {name}, which is no class here" if name else f"{place} has no name")
            continue
        try:
            box = [float(obj.findtext(f"bndbox/{side}")) for side in _CORNERS]
            difficult = int(float(obj.findtext("difficult") or 0))
        except (TypeError, ValueError):
            texts = [obj.findtext(f"bndbox/{side}") for side in _CORNERS]
            found.refuse(f"{place} ({name}): its box is {texts}, not four numbers ({', '.join(_CORNERS)})")
            continue
        box = [side - 1 if side >= 1 else min(side, 0.0) for side in box[:2]] + box[2:]  # VOC counts from 1, others 0
        found.add_box(place, image, box, BoxMode.XYXY_ABS, classes.index(name), difficult=difficult)
