"""
Generated images on which the network matters: outlines of rectangles, whose extent only a network that sees far enough
can tell, to be found and named wide, square or tall.

    python -m detnas.data.outlines [--root datasets/outlines] [--seed 0]
"""

import math

import numpy as np

from .toy import background, command_line, write_coco, write_once

CLASSES = ("wide", "square", "tall")
IMAGES = {"train": 1500, "val": 500, "test": 500}
SIZE = 96
#: sides in pixels, and the natural logarithm of width over height beyond which a rectangle is wide or tall
_SIDES, _LONG = (12, 84), 0.35
#: pixels that boxes keep apart, and draws of a rectangle that does
_GAP, _ATTEMPTS = 2, 10


def rectangle(taken, rng):
    """A random box (x, y, w, h) at a distance from those of a list; None if there is no room."""
    for _ in range(_ATTEMPTS):
        w, h = np.exp(rng.uniform(*np.log(_SIDES), 2)).round().astype(int).tolist()
        x, y = int(rng.integers(0, SIZE - w + 1)), int(rng.integers(0, SIZE - h + 1))
        if not any(
            x < bx + bw + _GAP and bx < x + w + _GAP and y < by + bh + _GAP and by < y + h + _GAP
            for bx, by, bw, bh in taken
        ):
            return x, y, w, h
    return None


def outline(image, box, rng):
    """Draw the outline of a box, 2 or 3 pixels thick, in a colour unlike what is below: the inside tells nothing."""
    x, y, w, h = box
    line = np.zeros((SIZE, SIZE, 1), dtype=bool)
    line[y : y + h, x : x + w] = True
    thick = int(rng.integers(2, 4))
    line[y + thick : y + h - thick, x + thick : x + w - thick] = False
    mean = image[line[..., 0]].mean(axis=0)
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.abs(colour - mean).max() > 80:
            break
    return np.where(line, colour + rng.normal(0, 10, line.shape), image)


def generate(root="datasets/outlines", seed=0):
    """
    Write ROOT/{train,val,test}/*.jpg and ROOT/{train,val,test}.json in COCO form, equal for equal seeds, unless they
    are there already.

    Returns:
        whether anything was written.
    """
    return write_once(root, seed, lambda folder, rng: write_coco(folder, IMAGES, CLASSES, lambda: _draw_outlines(rng)))


def _draw_outlines(rng):
    image, objects = background(SIZE, rng).astype(np.float32), []
    for _ in range(int(rng.integers(1, 3))):
        box = rectangle([box for box, _ in objects], rng)
        if box:
            image = outline(image, box, rng)
            ratio = math.log(box[2] / box[3])
            objects.append((box, 0 if ratio > _LONG else 2 if ratio < -_LONG else 1))
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8), objects


if __name__ == "__main__":
    command_line(generate, "datasets/outlines", "the outlines")
