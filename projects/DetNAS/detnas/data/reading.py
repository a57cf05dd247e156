"""Reads images (height H, width W, C channels). Errors name the file in one sentence, also from a data worker."""

import shlex
from typing import Optional, Sequence

import numpy as np
from detectron2.data import detection_utils
from detectron2.utils.file_io import PathManager
from PIL import Image, UnidentifiedImageError

from detnas.errors import UnreadableImage


def read_image(file_name: str, format: Optional[str] = None, as_stored: bool = False) -> np.ndarray:
    """Detectron2's ``read_image``, (H, W, C) uint8. ``as_stored`` ignores EXIF. Raises an OSError for over 8 bits."""
    with PathManager.open(file_name, "rb") as f, Image.open(f) as image:
        check_depth(image)
        if as_stored:
            return detection_utils.convert_PIL_to_numpy(image, format)
    return detection_utils.read_image(file_name, format)


def check_depth(image: Image.Image) -> None:
    """Raise an OSError if pixels have more than 8 bits, which Detectron2 would cut off at 255."""
    if image.mode.startswith(("I", "F")):
        raise OSError(f"its pixels have more than 8 bits (Pillow's mode {image.mode}): save it with 8 bits")


def why_unreadable(error):
    """Return the reason why :func:`read_image` failed, as a part of a sentence."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no image, or none of a known format"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


class ImageReader:
    """Reads images of dataset dicts and keeps up to ``budget`` bytes of pixels. Errors mention data sets ``names``."""

    def __init__(self, names: Sequence[str] = (), budget: float = 0):
        self.names, self._kept, self._left = names, {}, budget

    def __call__(self, dataset_dict, format):
        """Return an image, (H, W, C) uint8, which may be changed. Raises UnreadableImage with file and annotations."""
        file, key = dataset_dict["file_name"], (dataset_dict["file_name"], format, dataset_dict.get("exif"))
        if key in self._kept:
            return self._kept[key].copy()
        image = self._read(dataset_dict, format)
        height, width = image.shape[:2]
        if (dataset_dict.get("width", width), dataset_dict.get("height", height)) != (width, height):
            said = f'{dataset_dict["width"]}x{dataset_dict["height"]}'
            source = dataset_dict.get("source", "its data set")
            raise UnreadableImage(f"{file} has {width}x{height} pixels, but {source} says {said}{self._hint()}")
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[key] = image.copy()
        return image

    def _read(self, dataset_dict, format):
        file = dataset_dict["file_name"]
        try:
            return read_image(file, format, dataset_dict.get("exif") == "stored")
        except Exception as e:  # Pillow raises many kinds
            reason = why_unreadable(e)
        named = f", which {dataset_dict['source']} names," if "source" in dataset_dict else ""
        raise UnreadableImage(f"{file}{named} cannot be read as an image: {reason}{self._hint()}")

    def _hint(self):
        command = f"python tools/check_dataset.py {shlex.join(self.names)}"
        return f"; `{command}` lists all that is wrong" if self.names else ""
