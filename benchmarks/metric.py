#!/usr/bin/env python
"""
The box metrics of the search against those of pycocotools (COCO) and Detectron2 (VOC), on generated boxes:

    python benchmarks/metric.py [--images 1000 5000] [--voc-images 500] [--rounds 3] [--write]

The time is that of ``evaluate()``, from the collected detections to the figures, which must be identical.
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
from detectron2.evaluation import COCOEvaluator, PascalVOCDetectionEvaluator
from detectron2.structures import Boxes, Instances
from tables import parser, publish, table

from detnas.data.datasets import register_dataset
from detnas.evaluation.evaluators import BoxEvaluator, only_warnings
from detnas.evaluation.voc import VOCEvaluator

DETECTIONS, HEIGHT, WIDTH = 100, 480, 640


def generate(images, classes):
    """For each image its objects (boxes, labels) and the detections near them."""
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
    """Register a generated set; returns its name and [(input, output)] of a detector."""
    annotations, outputs = [], []
    for image, (boxes, labels, crowds, found) in enumerate(generate(images, 80), 1):
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
    # The names of the classes come from the file when it is read.
    DatasetCatalog.get(name)
    return name, outputs


def in_voc_form(images, folder):
    """The same in VOC form, 20 classes."""
    root, outputs = Path(folder, f"voc{images}"), []
    for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / part).mkdir(parents=True)
    for image, (boxes, labels, difficult, found) in enumerate(generate(images, 20)):
        objects = "".join(
            f"<object><name>class{label}</name><difficult>{int(hard)}</difficult><bndbox><xmin>{x1:.0f}</xmin>"
            f"<ymin>{y1:.0f}</ymin><xmax>{x2:.0f}</xmax><ymax>{y2:.0f}</ymax></bndbox></object>"
            for (x1, y1, x2, y2), label, hard in zip(boxes, labels, difficult)
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
        (root / f"Annotations/{image:05}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
        (root / f"JPEGImages/{image:05}.jpg").touch()
        outputs.append(({"image_id": f"{image:05}"}, {"instances": found}))
    (root / "ImageSets/Main/all.txt").write_text("\n".join(f"{image:05}" for image in range(images)))
    register_dataset(f"voc:{root}:all")
    return f"voc:{root}:all", outputs


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


def compare(theirs, ours, outputs, rounds):
    """Median seconds: (to collect, theirs, ours), and the figures, which must be the same."""
    seconds = []
    for _ in range(rounds):
        collect, slow, expected = measure(theirs, outputs)
        _, fast, figures = measure(ours, outputs)
        names = expected.keys() & figures.keys()
        assert {"AP", "AP50", "AP75"} <= names
        pairs = np.array([[expected[name], figures[name]] for name in names])
        np.testing.assert_allclose(*pairs.T, rtol=0, atol=1e-9)
        seconds.append((collect, slow, fast))
    return (*(statistics.median(column) for column in zip(*seconds)), figures, len(names))


def main(args):
    rows = []
    with only_warnings("detectron2", "detnas"), tempfile.TemporaryDirectory() as folder:
        sets = [("COCO, against pycocotools", images, in_coco_form) for images in args.images]
        sets += [("VOC, against Detectron2's", args.voc_images, in_voc_form)]
        for kind, images, register in sets:
            name, outputs = register(images, folder)
            if register is in_coco_form:
                theirs = COCOEvaluator(name, ("bbox",), distributed=False, use_fast_impl=False)
                ours = BoxEvaluator(name, distributed=False)
            else:
                theirs, ours = PascalVOCDetectionEvaluator(name), VOCEvaluator(name, distributed=False)
            rounds = args.rounds if images <= 1000 else 1
            collect, slow, fast, figures, count = compare(theirs, ours, outputs, rounds)
            seconds = f"{slow:.2f}", f"{fast:.2f}", f"{fast / slow:.3f}", f"{collect:.2f}"
            rows.append([kind, images, *seconds, count, f"{figures['AP']:.3f}"])
            print(rows[-1], flush=True)
    headers = ["metric", "images", "theirs s", "ours s", "ratio", "collecting s", "equal figures", "AP"]
    text = (
        f"    python benchmarks/metric.py --images {' '.join(map(str, args.images))} --voc-images {args.voc_images} "
        f"--rounds {args.rounds}\n\n"
        f"{DETECTIONS} detections an image, 80 and 20 classes; seconds of `evaluate()`, all figures equal to 1e-9. To "
        "collect the detections, while the images are evaluated, takes both the same time.\n\n" + table(rows, headers)
    )
    publish("metric", text, args.write)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, nargs="+", default=[1000, 5000], help="sizes of the COCO sets")
    arguments.add_argument("--voc-images", type=int, default=500, help="size of the VOC set")
    arguments.add_argument("--rounds", type=int, default=3, help="of sets of at most 1000 images")
    main(arguments.parse_args())
