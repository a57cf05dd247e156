"""Decoded images that stay in memory."""

import contextlib

from detectron2.data import detection_utils

_read_image = detection_utils.read_image


class ImageCache:
    """
    Detectron2's ``read_image`` that decodes a file once. Images are kept as they come until ``budget`` is used up; what
    does not fit is read again each time.

    Args:
        budget: bytes of pixels to keep.
    """

    def __init__(self, budget):
        self._kept, self._left = {}, budget

    def read_image(self, file_name, format=None):
        """Array (H, W, C), the caller's own: to change it changes no later one."""
        key = file_name, format
        if key in self._kept:
            return self._kept[key].copy()
        image = _read_image(file_name, format)
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[key] = image.copy()
        return image


class CachingMapper:
    """
    A mapper whose images come from a cache.

    Args:
        mapper: dataset dict -> dict; reads images by ``detection_utils.read_image``, as Detectron2's own mapper does.
        budget: bytes of decoded images to keep.
    """

    def __init__(self, mapper, budget):
        self.mapper, self.cache = mapper, ImageCache(budget)

    def __call__(self, dataset_dict):
        with _reading_by(self.cache.read_image):
            return self.mapper(dataset_dict)


@contextlib.contextmanager
def _reading_by(read_image):
    # Detectron2's mapper reads in the midst of its one long method.
    before, detection_utils.read_image = detection_utils.read_image, read_image
    try:
        yield
    finally:
        detection_utils.read_image = before
