#!/usr/bin/env python
"""
Compares the search's box metric with pycocotools, on generated boxes of 80 classes:

    python benchmarks/metric.py [--images 1000 5000] [--rounds 3]

It times ``evaluate()``, from collected detections to figures. The figures must be identical.
"""

import contextlib
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import numpy as np
import torch
from detectron2.data import DatasetCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances
from tables import parser, show, table

from detnas.evaluation.evaluators import BoxEvaluator, only_warnings

DETECTIONS, HEIGHT, WIDTH = 100, 480, 640


def generate(images, classes=80):
    """Yield each image's objects, boxes (n, 4), labels (n,), crowd flags (n,), and detections near them."""
    rng = np.random.default_rng(0)
    for _ in range(images):
        count = rng.integers(1, 14)
        size = rng.uniform(8, 250, (count, 2))
        corner = rng.uniform(0, 1, (count, 2)) * ((WIDTH, HEIGHT) - size)
        boxes, labels = np.concatenate([corner, corner + size], axis=1), rng.integers(0, classes, count)
        which = rng.integers(0, count, DETECTIONS)
        right = rng.random(DETECTIONS) < 0.7
        found = Instances((HEIGHT, WIDTH))
        found.pred_boxes = Boxes(torch.tensor(boxes[which] + rng.normal(0, 8, (DETECTIONS, 4)), dtype=torch.float32))
        found.scores = torch.tensor(rng.random(DETECTIONS), dtype=torch.float32)
        found.pred_classes = torch.tensor(np.where(right, labels[which], rng.integers(0, classes, DETECTIONS)))
        yield boxes, labels, rng.random(count) < 0.01, found


def in_coco_form(images, folder):
    """Register a generated set; returns its name and a detector's [(input, output)]."""
    annotations, outputs = [], []
    for image, (boxes, labels, crowds, found) in enumerate(generate(images), 1):
        for (x1, y1, x2, y2), label, crowd in zip(boxes.tolist(), labels.tolist(), crowds.tolist()):
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": int(crowd)}
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": label + 1, **box})
        outputs.append(({"image_id": image}, {"instances": found}))
    content = {
        "images": [{"id": i, "file_name": "", "height": HEIGHT, "width": WIDTH} for i in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": c, "name": f"class {c}"} for c in range(1, 81)],
    }
    file, name = Path(folder, f"{images}.json"), f"metric of {images}"
    file.write_text(json.dumps(content))
    register_coco_instances(name, {}, str(file), folder)
    # Reading the file sets the names of the classes.
    DatasetCatalog.get(name)
    return name, outputs


def measure(evaluator, outputs):
    """(seconds to evaluate, figures)"""
    evaluator.reset()
    for x, output in outputs:
        evaluator.process([x], [output])
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        figures = evaluator.evaluate()["bbox"]
    return time.perf_counter() - start, figures


def compare(theirs, ours, outputs, rounds):
    """(median seconds of theirs, of ours, figures); figures of both must be the same."""
    seconds = []
    for _ in range(rounds):
        slow, expected = measure(theirs, outputs)
        fast, figures = measure(ours, outputs)
        names = expected.keys() & figures.keys()
        assert {"AP", "AP50", "AP75"} <= names
        both = ([found[name] for name in names] for found in (expected, figures))
        np.testing.assert_allclose(*both, rtol=0, atol=1e-9)
        seconds.append((slow, fast))
    return (*map(statistics.median, zip(*seconds)), {name: figures[name] for name in names})


def main(args):
    rows = []
    with only_warnings("detectron2", "detnas"), tempfile.TemporaryDirectory() as folder:
        for images in args.images:
            name, outputs = in_coco_form(images, folder)
            theirs = COCOEvaluator(name, ("bbox",), distributed=False, use_fast_impl=False)
            rounds = args.rounds if images <= 1000 else 1
            slow, fast, figures = compare(theirs, BoxEvaluator(name, distributed=False), outputs, rounds)
            row = f"{slow:.2f}", f"{fast:.2f}", f"{fast / slow:.3f}", len(figures), f"{figures['AP']:.3f}"
            rows.append([images, *row])
            print(rows[-1], flush=True)
    headers = ["images", "pycocotools s", "ours s", "ratio", "equal figures", "AP"]
    text = (
        f"    python benchmarks/metric.py --images {' '.join(map(str, args.images))} --rounds {args.rounds}\n\n"
        f"{DETECTIONS} detections an image, 80 classes; seconds of `evaluate()`, all figures equal to 1e-9.\n\n"
        + table(rows, headers)
    )
    show(text)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, nargs="+", default=[1000, 5000], help="sizes of the sets")
    arguments.add_argument("--rounds", type=int, default=3, help="of sets of at most 1000 images")
    main(arguments.parse_args())
