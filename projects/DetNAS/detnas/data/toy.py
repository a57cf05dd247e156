"""
The generated data of the demo: coloured shapes on textured backgrounds, for classification and for detection.

    python -m detnas.data.toy [--root datasets/toy] [--seed 0]
"""

import argparse
import colorsys
import json
import math
import os
import shutil

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from detnas.errors import user_errors

CLASSES = ("disk", "square", "triangle", "cross")
#: images per class of the classification set, and images of the detection set
CLASSIFICATION = {"train": 300, "val": 50}
DETECTION = {"train": 400, "val": 100, "test": 150}
SIZE = 128
_SMOOTH = 4  # shapes are drawn this many times larger, for smooth edges


def background(size, rng):
    """A cloudy colour texture with grain, (size, size, 3) uint8."""
    coarse = Image.fromarray(rng.integers(40, 216, (6, 6, 3), dtype=np.uint8))
    fine = Image.fromarray(rng.integers(0, 256, (size // 4, size // 4, 3), dtype=np.uint8))
    clouds = np.asarray(coarse.resize((size, size), Image.BICUBIC), dtype=np.float32)
    grain = np.asarray(fine.resize((size, size), Image.BILINEAR), dtype=np.float32)
    return np.clip(0.75 * clouds + 0.25 * grain, 0, 255).astype(np.uint8)


def mask(shape, size, rng):
    """A shape turned at random, cut to its extent: (h, w) float32 in 0..1, the longer side about ``size`` pixels."""
    side = size * _SMOOTH
    canvas = Image.new("L", (2 * side, 2 * side))
    draw, c, r = ImageDraw.Draw(canvas), side, side / 2
    if shape == "disk":
        draw.ellipse([c - r, c - r, c + r, c + r], fill=255)
    elif shape == "cross":
        arm = r / 3
        draw.rectangle([c - r, c - arm, c + r, c + arm], fill=255)
        draw.rectangle([c - arm, c - r, c + arm, c + r], fill=255)
    else:
        corners = {"square": 4, "triangle": 3}[shape]
        angles = [2 * math.pi * (k + 0.5) / corners for k in range(corners)]
        draw.polygon([(c + r * math.sin(a), c + r * math.cos(a)) for a in angles], fill=255)
    canvas = canvas.rotate(float(rng.uniform(-20, 20)))
    canvas = canvas.crop(canvas.getbbox())
    width, height = (max(1, round(x / _SMOOTH)) for x in canvas.size)
    return np.asarray(canvas.resize((width, height), Image.BOX), dtype=np.float32) / 255


def paint(image, shape, alpha, x, y, rng):
    """Paint a shape with its upper left corner at (x, y), in a colour leaning to its class, unlike what is below."""
    h, w = alpha.shape
    below = image[y : y + h, x : x + w].astype(np.float32)
    mean = below.mean(axis=(0, 1))
    while True:
        # A hue around the class's own: by shape alone, a supernet would take longer to learn than a demo may last.
        hue = CLASSES.index(shape) / len(CLASSES) + rng.normal(0, 0.08)
        colour = 255 * np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.4, 1), rng.uniform(0.4, 1)))
        if np.abs(colour - mean).max() > 80:
            break
    texture = colour + rng.normal(0, 8, (h, w, 1))
    blended = alpha[..., None] * texture + (1 - alpha[..., None]) * below
    image[y : y + h, x : x + w] = np.clip(blended, 0, 255).astype(np.uint8)


def save(image, path):
    """Write an image, its edges softened, as JPEG."""
    Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.5)).save(path, quality=92)


def generate_classification(root, rng):
    """ROOT/{train,val}/CLASS/*.jpg: one shape an image, 48x48."""
    for split, count in CLASSIFICATION.items():
        for shape in CLASSES:
            folder = os.path.join(root, split, shape)
            os.makedirs(folder)
            for i in range(count):
                image = background(48, rng)
                alpha = mask(shape, int(rng.integers(24, 38)), rng)
                h, w = alpha.shape
                paint(image, shape, alpha, int(rng.integers(0, 49 - w)), int(rng.integers(0, 49 - h)), rng)
                save(image, os.path.join(folder, f"{i:04d}.jpg"))


def generate_detection(root, rng):
    """ROOT/{train,val,test}/*.jpg and ROOT/{train,val,test}.json in COCO form: one to six shapes an image."""
    write_coco(root, DETECTION, CLASSES, lambda: _draw_shapes(rng))


def _draw_shapes(rng):
    image, objects = background(SIZE, rng), []
    for _ in range(int(rng.integers(1, 7))):
        category = int(rng.integers(len(CLASSES)))
        alpha = mask(CLASSES[category], int(round(math.exp(rng.uniform(math.log(14), math.log(60))))), rng)
        h, w = alpha.shape
        x, y = int(rng.integers(0, SIZE - w + 1)), int(rng.integers(0, SIZE - h + 1))
        # Boxes keep apart, so that each object is there to be seen.
        if any(x < bx + bw and bx < x + w and y < by + bh and by < y + h for (bx, by, bw, bh), _ in objects):
            continue
        paint(image, CLASSES[category], alpha, x, y, rng)
        objects.append(((x, y, w, h), category))
    return image, objects


def write_coco(root, counts, classes, draw):
    """
    Write ROOT/SPLIT/*.jpg and ROOT/SPLIT.json in COCO form.

    Args:
        counts: split -> number of images.
        classes: names of the classes.
        draw: function () -> an image (H, W, 3) uint8, and its objects, a list of ((x, y, w, h), index of the class).
    """
    for split, count in counts.items():
        os.makedirs(os.path.join(root, split))
        images, annotations = [], []
        for number in range(1, count + 1):
            image, objects = draw()
            name, (height, width) = f"{number:05d}.jpg", image.shape[:2]
            save(image, os.path.join(root, split, name))
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            for (x, y, w, h), index in objects:
                box = {"category_id": index + 1, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
                annotations.append({"id": len(annotations) + 1, "image_id": number, **box})
        categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
        with open(os.path.join(root, f"{split}.json"), "w") as f:
            json.dump({"images": images, "annotations": annotations, "categories": categories}, f)


def write_once(root, seed, write):
    """
    Call ``write(folder, rng)`` for a folder that becomes ``root``, unless that is there already.

    Returns:
        whether anything was written.
    """
    if os.path.isdir(root):
        return False
    # Under another name until all is there, so that a killed run leaves nothing that looks complete.
    partial = f"{root}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    write(partial, np.random.default_rng(seed))
    os.rename(partial, root)
    return True


def generate(root="datasets/toy", seed=0):
    """
    Write both data sets, equal for equal seeds, unless they are there already.

    Returns:
        whether anything was written.
    """
    return write_once(root, seed, _write)


def _write(folder, rng):
    generate_classification(os.path.join(folder, "classification"), rng)
    generate_detection(os.path.join(folder, "detection"), rng)


def command_line(generate, root, what):
    """The command ``python -m`` of a module with a function ``generate(root, seed)``."""
    parser = argparse.ArgumentParser(description=f"Generate {what}, unless they are there.")
    parser.add_argument("--root", default=root, metavar="FOLDER", help=f"where to (default: {root})")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    args = parser.parse_args()
    with user_errors():
        print(f"{args.root}: {'generated' if generate(args.root, args.seed) else 'there already'}")


if __name__ == "__main__":
    command_line(generate, "datasets/toy", "the shapes")
