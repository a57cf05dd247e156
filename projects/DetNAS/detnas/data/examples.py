"""
Two generated sets of images unlike those of the demo, to try what is made for own data: "large", many small shapes in
large images, some of which hold none; "few", 40 images of crosses among other shapes, without a test set.

    python -m detnas.data.examples [--root datasets/examples] [--seed 0]
"""

import os

from . import toy

#: images, and in every how many-th one nothing is to be found
LARGE, FEW, EMPTY = {"train": 160, "test": 40}, {"train": 40}, 10
#: width and height, shapes an image, and their sides, in pixels
LARGE_SIZE, LARGE_SHAPES, LARGE_SIDES = (1600, 1200), (10, 40), (14, 30)
FEW_SIZE, FEW_SHAPES, FEW_SIDES = (320, 240), (4, 9), (24, 70)
_ATTEMPTS = 20


def scene(size, number, sides, rng):
    """
    An image of shapes that do not touch each other.

    Args:
        size: its width and height, in pixels.
        number: of shapes; fewer where there is no room.
        sides: smallest and largest, in pixels.

    Returns:
        the image, (H, W, 3) uint8, and a list of ((x, y, w, h), index of the shape).
    """
    width, height = size
    image, objects = toy.background(max(size), rng)[:height, :width].copy(), []
    for _ in range(number):
        shape = int(rng.integers(len(toy.CLASSES)))
        alpha = toy.mask(toy.CLASSES[shape], int(rng.integers(sides[0], sides[1] + 1)), rng)
        h, w = alpha.shape
        for _ in range(_ATTEMPTS):
            x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            if not any(x < bx + bw and bx < x + w and y < by + bh and by < y + h for (bx, by, bw, bh), _ in objects):
                toy.paint(image, toy.CLASSES[shape], alpha, x, y, rng)
                objects.append(((x, y, w, h), shape))
                break
    return image, objects


def generate(root="datasets/examples", seed=0):
    """
    Write both sets in COCO form, ROOT/large/{train,test} and ROOT/few/train, equal for equal seeds, unless they are
    there already.

    Returns:
        whether anything was written.
    """
    return toy.write_once(root, seed, _write)


def _write(folder, rng):
    drawn = 0

    def large():
        nonlocal drawn
        drawn += 1
        number = 0 if drawn % EMPTY == 0 else int(rng.integers(LARGE_SHAPES[0], LARGE_SHAPES[1] + 1))
        return scene(LARGE_SIZE, number, LARGE_SIDES, rng)

    def few():
        image, objects = scene(FEW_SIZE, int(rng.integers(FEW_SHAPES[0], FEW_SHAPES[1] + 1)), FEW_SIDES, rng)
        # The others are there to be told apart.
        cross = toy.CLASSES.index("cross")
        return image, [(box, 0) for box, shape in objects if shape == cross]

    toy.write_coco(os.path.join(folder, "large"), LARGE, toy.CLASSES, large)
    toy.write_coco(os.path.join(folder, "few"), FEW, ("cross",), few)


if __name__ == "__main__":
    toy.command_line(generate, "datasets/examples", "both sets")
