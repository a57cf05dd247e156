#!/usr/bin/env python
"""
COCO's box metric: the search's evaluator (faster-coco-eval) against the same one with pycocotools, on generated boxes:

    python benchmarks/metric.py [--images 1000 5000] [--rounds 3] [--write]

The time is that of ``evaluate()``, from the collected detections to the figures, which must be identical.
"""

import argparse
import contextlib
import io
import json
import logging
import statistics
import tempfile
import time

import detnas  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import numpy as np
import torch
from detectron2.data import DatasetCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances
from tables import publish, table

from detnas.engine.evaluation import BoxEvaluator

CLASSES, DETECTIONS, HEIGHT, WIDTH = 80, 100, 480, 640


def generate(images, folder):
    """Register a set with 1 to 13 objects an image; returns its name and detections that are near the objects."""
    rng = np.random.default_rng(0)
    annotations, outputs = [], []
    for image in range(1, images + 1):
        count = rng.integers(1, 14)
        size = rng.uniform(8, 250, (count, 2))
        corner = rng.uniform(0, 1, (count, 2)) * ((WIDTH, HEIGHT) - size)
        classes = rng.integers(0, CLASSES, count)
        for (x, y), (w, h), c in zip(corner, size, classes):
            box = [float(v) for v in (x, y, w, h)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(c) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(rng.random() < 0.01),
                }
            )
        which = rng.integers(0, count, DETECTIONS)
        boxes = np.concatenate([corner, corner + size], axis=1)[which] + rng.normal(0, 8, (DETECTIONS, 4))
        right = rng.random(DETECTIONS) < 0.7
        found = Instances((HEIGHT, WIDTH))
        found.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
        found.scores = torch.tensor(rng.random(DETECTIONS), dtype=torch.float32)
        found.pred_classes = torch.tensor(np.where(right, classes[which], rng.integers(0, CLASSES, DETECTIONS)))
        outputs.append(({"image_id": image}, {"instances": found}))
    content = {
        "images": [{"id": i, "file_name": "", "height": HEIGHT, "width": WIDTH} for i in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": c + 1, "name": f"class {c}"} for c in range(CLASSES)],
    }
    file = f"{folder}/{images}.json"
    with open(file, "w") as f:
        json.dump(content, f)
    name = f"metric of {images}"
    register_coco_instances(name, {}, file, folder)
    return name, outputs


def measure(evaluator, outputs):
    """(seconds to collect, seconds to evaluate, figures)"""
    start = time.perf_counter()
    evaluator.reset()
    for x, output in outputs:
        evaluator.process([x], [output])
    middle = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        figures = evaluator.evaluate()["bbox"]
    return middle - start, time.perf_counter() - middle, figures


def main(args):
    logging.disable(logging.WARNING)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for images in args.images:
            name, outputs = generate(images, folder)
            # The names of the classes come from the file when it is read.
            DatasetCatalog.get(name)
            evaluators = {
                "pycocotools": COCOEvaluator(name, ("bbox",), distributed=False, use_fast_impl=False),
                "ours": BoxEvaluator(name, distributed=False),
            }
            times = {kind: [] for kind in evaluators}
            for _ in range(args.rounds if images <= 1000 else 1):
                figures = {}
                for kind, evaluator in evaluators.items():
                    *seconds, figures[kind] = measure(evaluator, outputs)
                    times[kind].append(seconds)
                assert figures["ours"].keys() == figures["pycocotools"].keys()
                np.testing.assert_allclose(*(list(found.values()) for found in figures.values()), rtol=0, atol=1e-9)
            collect, theirs = (statistics.median(column) for column in zip(*times["pycocotools"]))
            ours = statistics.median(seconds for _, seconds in times["ours"])
            ap, count = figures["ours"]["AP"], len(figures["ours"])
            seconds = f"{theirs:.2f}", f"{ours:.2f}", f"{ours / theirs:.3f}", f"{collect:.2f}"
            rows.append([images, *seconds, count, f"{ap:.3f}"])
            print(rows[-1], flush=True)
    headers = ["images", "pycocotools s", "ours s", "ratio", "collecting, both, s", "identical figures", "AP"]
    text = (
        f"    python benchmarks/metric.py --images {' '.join(map(str, args.images))} --rounds {args.rounds}\n\n"
        f"{DETECTIONS} detections an image, {CLASSES} classes; seconds of `evaluate()`, all figures equal to 1e-9. "
        "To collect the detections, while the images are evaluated, takes both the same time.\n\n"
        + table(rows, headers)
    )
    publish("metric", text, args.write)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.md")
    main(parser.parse_args())
