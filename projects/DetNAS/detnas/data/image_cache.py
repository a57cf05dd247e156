"""Decoded images that stay in memory."""

from .reading import read_image


class ImageCache:
    """
    ``read_image`` that decodes a file once. Images are kept as they come until ``budget`` is used up; what does not fit
    is read again each time.

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
        image = read_image(file_name, format)
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[key] = image.copy()
        return image
