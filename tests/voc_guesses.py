"""Detections on images in VOC form, for tests of their evaluation; a module that new processes can import."""

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import numpy as np
import torch
from detectron2.structures import Boxes, Instances

FEW = ("cat", "dog", "horse")


def guess(image, number):
    """Ground truth moved by a few pixels, with some boxes of wrong class or place; equal for equal numbers."""
    rng = np.random.default_rng(number)
    boxes = np.array([ann["bbox"] for ann in image["annotations"]])
    boxes = np.concatenate([boxes + rng.integers(-3, 4, boxes.shape), boxes + rng.integers(-30, 30, boxes.shape)])
    labels = np.array([ann["category_id"] for ann in image["annotations"]] * 2)
    labels[rng.random(len(labels)) < 0.2] = 0
    instances = Instances((image["height"], image["width"]))
    instances.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
    instances.scores = torch.tensor(rng.random(len(boxes)))
    instances.pred_classes = torch.tensor(labels)
    return instances


def process(evaluator, images, first=0, step=1):
    """Let an evaluator see every ``step``-th image from ``first`` on."""
    evaluator.reset()
    for number in range(first, len(images), step):
        evaluator.process([images[number]], [{"instances": guess(images[number], number)}])
    return evaluator
