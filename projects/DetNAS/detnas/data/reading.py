"""Reads images for mappers; one that cannot be read is reported in one sentence, also from a data worker."""

import os
import shlex

from detectron2.data import MetadataCatalog, detection_utils
from detectron2.utils.file_io import PathManager
from PIL import Image, UnidentifiedImageError

from detnas.errors import UnreadableImage


def read_image(file_name, format=None):
    """Detectron2's ``read_image``, which cuts pixels of more than 8 bits off at 255: those are an OSError here."""
    with PathManager.open(file_name, "rb") as f:
        mode = Image.open(f).mode
    if mode.startswith(("I", "F")):
        raise OSError(f"its pixels have more than 8 bits (Pillow's mode {mode}): save it with 8 bits")
    return detection_utils.read_image(file_name, format)


def why_unreadable(error):
    """The reason why :func:`read_image` failed, as a part of a sentence."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no image, or none of a known format"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


class ImageReader:
    """
    Reads the image of a dataset dict. Images are kept as they come until ``budget``, bytes of pixels, is used up; what
    does not fit is read again each time.

    Args:
        names: the data sets that the dicts are of, registered.
    """

    def __init__(self, names=(), budget=0):
        # Now: a data worker that was not forked knows of no data sets.
        self.named_by = {name: MetadataCatalog.get(name) for name in names}
        self._kept, self._left = {}, budget

    def __call__(self, dataset_dict, format):
        """The image, (H, W, C) uint8, or a copy of it; UnreadableImage, naming file and annotations, if it is bad."""
        file = dataset_dict["file_name"]
        if (file, format) in self._kept:
            return self._kept[file, format].copy()
        image = self._read(file, format)
        height, width = image.shape[:2]
        if (dataset_dict.get("width", width), dataset_dict.get("height", height)) != (width, height):
            source, hint = self._who_names(file)
            said = f'{source or "its data set"} says {dataset_dict.get("width")}x{dataset_dict.get("height")}'
            raise UnreadableImage(f"{file} has {width}x{height} pixels, but {said}{hint}")
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[file, format] = image.copy()
        return image

    def _read(self, file, format):
        try:
            return read_image(file, format)
        except Exception as e:  # Pillow raises many kinds
            reason = why_unreadable(e)
        source, hint = self._who_names(file)
        named = f", which {source} names," if source else ""
        raise UnreadableImage(f"{file}{named} cannot be read as an image: {reason}{hint}")

    def _who_names(self, file):
        """The annotations that an image belongs to, by its folder, and a hint at the tool that finds all like it."""
        found = {}
        for name, metadata in self.named_by.items():
            root = metadata.get("image_root") or metadata.get("dirname") or metadata.get("root") or file
            if file.startswith(os.path.join(root, "")):
                found[name] = annotation_file(metadata, file) or f'data set "{name}"'
        command = f"python tools/check_dataset.py {shlex.join(found)}"
        # Of parts of one data set any can name it.
        return " or ".join(dict.fromkeys(found.values())), f"; `{command}` lists all that is wrong" if found else ""


def annotation_file(metadata, file_name):
    """The file with the annotations of an image; None for a folder of classes."""
    form = metadata.get("evaluator_type")
    if form == "coco":
        return metadata.json_file
    if form == "pascal_voc":
        folder, file = os.path.split(file_name)
        return os.path.join(os.path.dirname(folder), "Annotations", f"{os.path.splitext(file)[0]}.xml")
    return None
