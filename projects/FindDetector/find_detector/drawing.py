"""Draws detections into images of height H and width W."""

import numpy as np
from detectron2.utils.visualizer import Visualizer
from PIL import Image

from detnas.data.reading import ImageReader

#: Images whose longer side has fewer pixels are enlarged, so that labels can be read.
SMALLEST_COPY = 800
#: lowest score that is drawn; of a sheet: images in a row, largest side with gap and gap in pixels
_THRESHOLD, _ROW, _SIDE, _GAP = 0.5, 4, 480, 8


def draw(image, instances, metadata) -> np.ndarray:
    """Copy an image, (H, W, 3) BGR uint8, to RGB with boxes, classes and scores; small ones are enlarged."""
    height, width = image.shape[:2]
    visualizer = Visualizer(image[:, :, ::-1], metadata, scale=max(1.0, SMALLEST_COPY / max(height, width)))
    # The default, a 90th of the side and at least 10 / scale, covers small images and is hardly seen on large ones.
    visualizer._default_font_size = (height * width) ** 0.5 / 60
    return visualizer.draw_instance_predictions(instances).get_image()


def write_sheet(found: list, metadata, output: str) -> None:
    """Write one picture with rows of images; ``found`` lists (dataset dict, Instances)."""
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
