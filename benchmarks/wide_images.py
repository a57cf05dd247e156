"""
The generated shapes as wide images, 240x400, that ``INPUT.MIN_SIZE_TEST 800`` makes 800x1333, as COCO's widest are:

    python benchmarks/wide_images.py [--root datasets/wide] [--seed 0]

They stand for images of the paper's size where time and memory count. How well a network does on them says little.
"""

from detnas.data.toy import CLASSES, background, command_line, mask, paint, write_coco, write_once

#: as many as a search of the paper's size recalibrates on and holds out, and a few for what takes long
IMAGES = {"train": 500, "val": 1000, "few": 96}
HEIGHT, WIDTH = 240, 400
#: sides of an object in pixels, and draws of one
_SIDES, _DRAWS = (12, 90), 12


def _draw(rng):
    """An image with up to twelve shapes that keep apart, and their boxes."""
    image, objects = background(WIDTH, rng)[:HEIGHT].copy(), []
    for _ in range(_DRAWS):
        category = int(rng.integers(len(CLASSES)))
        alpha = mask(CLASSES[category], int(rng.integers(*_SIDES)), rng)
        h, w = alpha.shape
        x, y = int(rng.integers(0, WIDTH - w + 1)), int(rng.integers(0, HEIGHT - h + 1))
        if any(x < bx + bw and bx < x + w and y < by + bh and by < y + h for (bx, by, bw, bh), _ in objects):
            continue
        paint(image, CLASSES[category], alpha, x, y, rng)
        objects.append(((x, y, w, h), category))
    return image, objects


def generate(root="datasets/wide", seed=0):
    """Write ROOT/{train,val,few}/*.jpg and their .json in COCO form, equal for equal seeds, unless they are there."""
    return write_once(root, seed, lambda folder, rng: write_coco(folder, IMAGES, CLASSES, lambda: _draw(rng)))


def opts(train="train", test="val", root="datasets/wide"):
    """Settings of a config that trains and tests on them."""
    return [word for key, split in (("TRAIN", train), ("TEST", test))
            for word in (f"DATASETS.{key}", str((f"coco:{root}/{split}.json:{root}/{split}",)))]


if __name__ == "__main__":
    command_line(generate, "datasets/wide", "the wide images")
