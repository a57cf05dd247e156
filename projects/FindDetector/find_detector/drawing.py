"""Pictures of what a detector finds."""

import numpy as np
from detectron2.utils.visualizer import Visualizer
from PIL import Image

from detnas.data.reading import ImageReader

#: pixels of the longer side below which a copy is drawn larger: labels need some to be read
SMALLEST_COPY = 800
#: lowest score that is drawn; images in a row of a sheet, and the sides of the square of each, in pixels
_THRESHOLD, _ROW, _SIDE = 0.5, 4, 480


def draw(image, instances, metadata) -> np.ndarray:
    """A copy of an image, (H, W, 3) BGR uint8, as RGB with boxes, classes and scores; enlarged if it is small."""
    height, width = image.shape[:2]
    visualizer = Visualizer(image[:, :, ::-1], metadata, scale=max(1.0, SMALLEST_COPY / max(height, width)))
    # By default one font fits images of 900 pixels: it covers smaller ones, and is hardly seen on photos of a camera.
    visualizer._default_font_size = (height * width) ** 0.5 / 60
    return visualizer.draw_instance_predictions(instances).get_image()


def write_sheet(found: list, metadata, output: str) -> None:
    """Write one picture of several images, in rows; ``found`` has dataset dict and Instances of each."""
    row = min(_ROW, len(found))
    sheet = Image.new("RGB", (row * _SIDE, -(-len(found) // row) * _SIDE), "white")
    for number, (image, instances) in enumerate(found):
        drawn = draw(ImageReader()(image, "BGR"), instances[instances.scores >= _THRESHOLD], metadata)
        drawn = Image.fromarray(drawn)
        drawn.thumbnail((_SIDE - 8, _SIDE - 8))
        sheet.paste(drawn, (number % row * _SIDE + 4, number // row * _SIDE + 4))
    sheet.save(output)
