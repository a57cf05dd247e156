"""Reads images for mappers; one that cannot be read is reported in one sentence, also from a data worker."""

import contextlib
import os
import shlex

from detectron2.data import MetadataCatalog, detection_utils
from detectron2.utils.file_io import PathManager
from PIL import Image, UnidentifiedImageError

from detnas.errors import UnreadableImage


def read_image(file_name, format=None):
    """
    Detectron2's ``read_image``, which cuts pixels of more than 8 bits off at 255: those are an error here.

    Raises:
        OSError, and whatever Pillow raises for a damaged file.
    """
    with PathManager.open(file_name, "rb") as f:
        image = Image.open(f)
        if image.mode.startswith(("I", "F")):
            raise OSError(f"its pixels have more than 8 bits (Pillow's mode {image.mode}): save it with 8 bits")
        return detection_utils.convert_PIL_to_numpy(detection_utils._apply_exif_orientation(image), format)


def why_unreadable(error):
    """The reason why :func:`read_image` failed, as a part of a sentence."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no image, or none of a known format"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


class ImageCache:
    """
    ``read_image`` that decodes a file once. Images are kept as they come until ``budget``, bytes of pixels, is used up;
    what does not fit is read again each time.
    """

    def __init__(self, budget):
        self._kept, self._left = {}, budget

    def read_image(self, file_name, format=None):
        """A copy of the image, (H, W, C), that the caller may change."""
        key = file_name, format
        if key in self._kept:
            return self._kept[key].copy()
        image = read_image(file_name, format)
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[key] = image.copy()
        return image


class ReadingMapper:
    """
    A mapper whose images are read by ``read``.

    Args:
        mapper: dataset dict -> dict; reads images by ``detection_utils.read_image``, as Detectron2's own mapper does.
        names: the data sets that the dicts are of, registered.
        read: as :func:`read_image`.

    Raises, when called:
        UnreadableImage: naming the file and the annotations that name it.
    """

    def __init__(self, mapper, names, read=read_image):
        self.mapper, self.read = mapper, read
        # Now: a data worker that was not forked knows of no data sets.
        self.named_by = {name: MetadataCatalog.get(name) for name in names}

    def __call__(self, dataset_dict):
        try:
            with _reading_by(self._read):
                return self.mapper(dataset_dict)
        except detection_utils.SizeMismatchError:
            file = dataset_dict["file_name"]
            source, hint = self._who_names(file)
            height, width = self.read(file).shape[:2]
            said = f'{dataset_dict["width"]}x{dataset_dict["height"]}'
        raise UnreadableImage(f"{file} has {width}x{height} pixels, but {source or 'its data set'} says {said}{hint}")

    def _read(self, file_name, format=None):
        try:
            return self.read(file_name, format)
        except Exception as e:  # Pillow raises many kinds
            reason = why_unreadable(e)
        source, hint = self._who_names(file_name)
        named = f", which {source} names," if source else ""
        raise UnreadableImage(f"{file_name}{named} cannot be read as an image: {reason}{hint}")

    def _who_names(self, file_name):
        """The annotations that an image belongs to, by its folder, and a hint at the tool that finds all like it."""
        found = {
            name: annotation_file(metadata, file_name) or f'data set "{name}"'
            for name, metadata in self.named_by.items()
            if file_name.startswith(os.path.join(image_folder(metadata) or file_name, ""))
        }
        command = f"python tools/check_dataset.py {shlex.join(found)}"
        # Of parts of one data set any can name it.
        return " or ".join(dict.fromkeys(found.values())), f"; `{command}` lists all that is wrong" if found else ""


def image_folder(metadata):
    """The folder below which the images of a data set lie; None if it does not say."""
    return metadata.get("image_root") or metadata.get("dirname") or metadata.get("root")


def annotation_file(metadata, file_name):
    """The file with the annotations of an image; None for a folder of classes."""
    form = metadata.get("evaluator_type")
    if form == "coco":
        return metadata.json_file
    if form == "pascal_voc":
        folder, file = os.path.split(file_name)
        return os.path.join(os.path.dirname(folder), "Annotations", f"{os.path.splitext(file)[0]}.xml")
    return None


@contextlib.contextmanager
def _reading_by(read_image):
    # Detectron2's mapper reads in the midst of its one long method.
    before, detection_utils.read_image = detection_utils.read_image, read_image
    try:
        yield
    finally:
        detection_utils.read_image = before
