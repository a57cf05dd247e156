"""Pictures of what a detector finds."""

import numpy as np
from detectron2.utils.visualizer import Visualizer
from PIL import Image

from detnas.data.reading import ImageReader

#: pixels of the longer side below which a copy is drawn larger: labels need some to be read
SMALLEST_COPY = 800
#: lowest score that is drawn; images in a row of a sheet, sides of each at most and what is between them, in pixels
_THRESHOLD, _ROW, _SIDE, _GAP = 0.5, 4, 480, 8


def draw(image, instances, metadata) -> np.ndarray:
    """A copy of an image, (H, W, 3) BGR uint8, as RGB with boxes, classes and scores; enlarged if it is small."""
    height, width = image.shape[:2]
    visualizer = Visualizer(image[:, :, ::-1], metadata, scale=max(1.0, SMALLEST_COPY / max(height, width)))
    # By default one font fits images of 900 pixels: it covers smaller ones, and is hardly seen on photos of a camera.
    visualizer._default_font_size = (height * width) ** 0.5 / 60
    return visualizer.draw_instance_predictions(instances).get_image()


def write_sheet(found: list, metadata, output: str) -> None:
    """Write one picture of several images, in rows; ``found`` has dataset dict and Instances of each."""
    copies = []
    for image, instances in found:
        drawn = draw(ImageReader()(image, "BGR"), instances[instances.scores >= _THRESHOLD], metadata)
        copies.append(Image.fromarray(drawn))
        copies[-1].thumbnail((_SIDE - _GAP, _SIDE - _GAP))
    rows = [copies[start:start + _ROW] for start in range(0, len(copies), _ROW)]
    heights = [max(copy.height for copy in row) + _GAP for row in rows]
    sheet = Image.new("RGB", (len(rows[0]) * _SIDE, sum(heights)), "white")
    for number, row in enumerate(rows):
        for place, copy in enumerate(row):
            sheet.paste(copy, (place * _SIDE + _GAP // 2, sum(heights[:number]) + _GAP // 2))
    sheet.save(output)
