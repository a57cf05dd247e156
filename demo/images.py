#!/usr/bin/env python
"""
Generate images, equal for equal seeds, unless their folder exists; in COCO form if no other is named:

    python demo/images.py toy         coloured shapes, for classification and for detection    seconds
    python demo/images.py outlines    outlines of rectangles, to be named wide, square or tall    seconds
    python demo/images.py examples    "large": many small shapes in large images, some without any; "few": 40 images of
                                      crosses among other shapes, without a test set    a minute
    python demo/images.py streets     simple pedestrians and riders, in the form of EuroCity Persons    seconds
    python demo/images.py wide        shapes in images that INPUT.MIN_SIZE_TEST 800 makes 800x1333, for benchmarks
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

SHAPES = ("disk", "square", "triangle", "cross")
RECTANGLES = ("wide", "square", "tall")
#: set -> part -> split -> images; for classification the images of a class
COUNTS = {
    "toy": {"classification": {"train": 300, "val": 50}, "detection": {"train": 400, "val": 100, "test": 150}},
    "outlines": {"": {"train": 1500, "val": 500, "test": 500}},
    "examples": {"large": {"train": 160, "test": 40}, "few": {"train": 40}},
    "streets": {"day": {"train": 120, "val": 40}, "night": {"train": 40, "val": 20}},
    # As many as a search of the paper's size recalibrates on and holds out, and a few for what takes long.
    "wide": {"": {"train": 500, "val": 1000, "few": 96}},
}
#: side of an image of outlines in pixels; |ln(width / height)| beyond which a rectangle is wide or tall
OUTLINES_SIZE, _LONG = 96, 0.35
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
    """Paint a mask (h, w) with its upper left corner at (x, y), in a colour of its class that stands out."""
    h, w = alpha.shape
    below = image[y : y + h, x : x + w].astype(np.float32)
    mean = below.mean(axis=(0, 1))
    while True:
        # The hue hints at the class: a supernet would learn shapes alone too slowly for a demo.
        hue = SHAPES.index(shape) / len(SHAPES) + rng.normal(0, 0.08)
        colour = 255 * np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.4, 1), rng.uniform(0.4, 1)))
        if np.abs(colour - mean).max() > 80:
            break
    texture = colour + rng.normal(0, 8, (h, w, 1))
    blended = alpha[..., None] * texture + (1 - alpha[..., None]) * below
    image[y : y + h, x : x + w] = np.clip(blended, 0, 255).astype(np.uint8)


def outline(image, box, rng):
    """Outline a box (x, y, w, h), 2 or 3 pixels thick, in a colour that stands out; the inside tells nothing."""
    x, y, w, h = box
    line = np.zeros((*image.shape[:2], 1), dtype=bool)
    line[y : y + h, x : x + w] = True
    thick = int(rng.integers(2, 4))
    line[y + thick : y + h - thick, x + thick : x + w - thick] = False
    mean = image[line[..., 0]].mean(axis=0)
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.abs(colour - mean).max() > 80:
            break
    return np.where(line, colour + rng.normal(0, 10, line.shape), image)


def draw_place(image, size, objects, rng, gap=0):
    """
    A random box (x, y, w, h) of ``size`` (w, h) in an image (H, W, 3); None if it comes within ``gap`` pixels of one of
    the objects, a list of ((x, y, w, h), class).
    """
    (w, h), (height, width) = size, image.shape[:2]
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    free = not any(
        x < bx + bw + gap and bx < x + w + gap and y < by + bh + gap and by < y + h + gap
        for (bx, by, bw, bh), _ in objects
    )
    return (x, y, w, h) if free else None


def draw_shapes(image, number, side, rng, attempts=1):
    """
    Draw up to ``number`` shapes that do not overlap, each if some attempts find room; ``side()`` gives the longer side
    of the next one in pixels. Returns the image and a list of ((x, y, w, h), index of the shape).
    """
    objects = []
    for _ in range(number):
        index = int(rng.integers(len(SHAPES)))
        alpha = mask(SHAPES[index], side(), rng)
        places = (draw_place(image, alpha.shape[::-1], objects, rng) for _ in range(attempts))
        box = next(filter(None, places), None)
        if box:
            paint(image, SHAPES[index], alpha, *box[:2], rng)
            objects.append((box, index))
    return image, objects


def draw_outlines(image, rng):
    """Draw one or two outlines, unless ten attempts find no room; returns what :func:`draw_shapes` does."""
    objects, image = [], image.astype(np.float32)
    for _ in range(int(rng.integers(1, 3))):
        sizes = (np.exp(rng.uniform(*np.log((12, 84)), 2)).round().astype(int).tolist() for _ in range(10))
        box = next(filter(None, (draw_place(image, size, objects, rng, gap=2) for size in sizes)), None)
        if box:
            image = outline(image, box, rng)
            ratio = math.log(box[2] / box[3])
            objects.append((box, 0 if ratio > _LONG else 2 if ratio < -_LONG else 1))
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8), objects


def save(image, path):
    """Write an image with softened edges as JPEG."""
    Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.5)).save(path, quality=92)


def write_classes(root, counts, rng):
    """Write ROOT/SPLIT/CLASS/*.jpg: one shape an image, 48x48."""
    for split, count in counts.items():
        for shape in SHAPES:
            folder = os.path.join(root, split, shape)
            os.makedirs(folder)
            for i in range(count):
                image = background(48, rng)
                alpha = mask(shape, int(rng.integers(24, 38)), rng)
                paint(image, shape, alpha, *draw_place(image, alpha.shape[::-1], [], rng)[:2], rng)
                save(image, os.path.join(folder, f"{i:04d}.jpg"))


def write_coco(root, counts, classes, draw):
    """
    Write ROOT/SPLIT/*.jpg and ROOT/SPLIT.json in COCO form; ``counts`` has split -> images. ``draw()`` gives an image
    (H, W, 3) uint8, and its objects, a list of ((x, y, w, h), index of the class).
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


def write_toy(root, classification, detection, rng):
    def side():
        return int(round(math.exp(rng.uniform(math.log(14), math.log(60)))))

    def draw():
        return draw_shapes(background(128, rng), int(rng.integers(1, 7)), side, rng)

    write_classes(os.path.join(root, "classification"), classification, rng)
    write_coco(os.path.join(root, "detection"), detection, SHAPES, draw)


def write_outlines(root, counts, rng):
    write_coco(root, counts, RECTANGLES, lambda: draw_outlines(background(OUTLINES_SIZE, rng), rng))


def write_examples(root, large, few, rng):
    drawn = 0

    def draw_large():
        nonlocal drawn
        drawn += 1
        number = int(rng.integers(10, 41)) if drawn % 10 else 0
        return draw_shapes(background(1600, rng)[:1200], number, lambda: int(rng.integers(14, 31)), rng, attempts=20)

    def draw_few():
        number = int(rng.integers(4, 10))
        image = background(320, rng)[:240]
        image, objects = draw_shapes(image, number, lambda: int(rng.integers(24, 71)), rng, attempts=20)
        return image, [(box, 0) for box, index in objects if SHAPES[index] == "cross"]

    write_coco(os.path.join(root, "large"), large, SHAPES, draw_large)
    write_coco(os.path.join(root, "few"), few, ("cross",), draw_few)


def draw_street(image, rng):
    """Draw pedestrians and riders into an image (H, W, 3) uint8; returns it and labels as in EuroCity Persons."""
    canvas, labels = Image.fromarray(image), []
    draw, (rows, columns) = ImageDraw.Draw(canvas), image.shape[:2]
    for _ in range(int(rng.integers(1, 7))):
        high = int(round(math.exp(rng.uniform(math.log(24), math.log(160)))))
        wide, head = max(4, int(0.4 * high)), high // 4
        x, y = int(rng.integers(0, columns - 2 * wide)), int(rng.integers(0, rows - high))
        colours = [tuple(int(value) for value in rng.integers(0, 256, 3)) for _ in range(2)]
        middle = x + wide // 2
        draw.rectangle([x, y + head, x + wide, y + high], fill=colours[0])
        draw.ellipse([middle - head // 2, y, middle + head // 2, y + head], fill=colours[1])
        box = {"x0": float(x), "y0": float(y), "x1": x + wide + 1.0, "y1": y + high + 1.0}
        label = {"identity": "pedestrian", **box, "tags": [], "children": []}
        if rng.random() < 0.3:
            wheel = wide // 2
            left, top = x - wheel, y + high - 2 * wheel
            for start in (left, x + wide):
                line = max(1, wheel // 4)
                draw.ellipse([start, top, start + 2 * wheel, top + 2 * wheel], outline=colours[1], width=line)
            vehicle = {"x0": float(left), "y0": float(top), "x1": x + wide + 2.0 * wheel, "y1": top + 2.0 * wheel}
            label.update(identity="rider", children=[{"identity": "bicycle", **vehicle, "tags": [], "children": []}])
        elif rng.random() < 0.2:
            draw.rectangle([x, y + high // 2, x + wide, y + high], fill=(128, 128, 128))
            label["tags"].append("occluded>40")
        labels.append(label)
    return np.asarray(canvas), labels


def write_streets(root, day, night, rng):
    for time, counts, light in (("day", day, 1.0), ("night", night, 0.4)):
        for split, count in counts.items():
            for number in range(count):
                image, labels = draw_street(background(640, rng)[:384], rng)
                frame = {"identity": "frame", "imagewidth": 640, "imageheight": 384, "tags": [], "children": labels}
                for kind, ending in (("img", "png"), ("labels", "json")):
                    folder = os.path.join(root, time, kind, split, ("avenue", "harbour")[number % 2])
                    os.makedirs(folder, exist_ok=True)
                    file = os.path.join(folder, f"{number:05d}.{ending}")
                    if kind == "img":
                        Image.fromarray((light * image).astype(np.uint8)).save(file)
                    else:
                        with open(file, "w") as f:
                            json.dump(frame, f)


def write_wide(root, counts, rng):
    def draw():
        return draw_shapes(background(400, rng)[:240], 12, lambda: int(rng.integers(12, 90)), rng)

    write_coco(root, counts, SHAPES, draw)


WRITERS = {"toy": write_toy, "outlines": write_outlines, "examples": write_examples, "streets": write_streets,
           "wide": write_wide}


def generate(name, root=None, seed=0):
    """Write a set of ``WRITERS`` to ``root``, by default datasets/NAME; returns False if the folder exists."""
    root = root or os.path.join("datasets", name)
    if os.path.isdir(root):
        return False
    # Under another name until all is there, so that a killed run leaves nothing that looks complete.
    partial = f"{root}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    WRITERS[name](partial, *COUNTS[name].values(), np.random.default_rng(seed))
    os.rename(partial, root)
    return True


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=WRITERS, help="of the set")
    parser.add_argument("--root", metavar="FOLDER", help="where to (default: datasets/NAME)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    return parser


if __name__ == "__main__":
    args = parser().parse_args()
    with user_errors():
        written = generate(args.name, args.root, args.seed)
    print(f"{args.root or args.name}: {'generated' if written else 'there already'}")
