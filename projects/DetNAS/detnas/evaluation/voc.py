"""Average precision of boxes in VOC format. An image has D detections and G objects of a class."""

import functools
import itertools
import logging
import math
from collections import defaultdict

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import PascalVOCDetectionEvaluator, pascal_voc_evaluation
from detectron2.utils import comm
from detectron2.utils.logger import log_first_n

from detnas.errors import UserError

#: IoU thresholds in percent over which AP is a mean
THRESHOLDS = range(50, 100, 5)


class VOCEvaluator(PascalVOCDetectionEvaluator):
    """
    Detectron2's VOC evaluation for the small sets of a search. Only processed images count, and boxes may have
    decimals. Means leave out classes without an object that is not "difficult", where Detectron2 has 0 or NaN. The
    metadata's ``year`` 2007 means the 11-point metric, other years the area under the curve. If ``distributed``, the
    main process alone has results, for the images of all processes. Otherwise each process evaluates its own images.
    """

    def __init__(self, dataset_name, distributed=True):
        # Detectron2's constructor would read files of one folder. Its process() uses these two names.
        self._dataset_name, self._cpu_device = dataset_name, torch.device("cpu")
        self.reset()
        self._metadata = MetadataCatalog.get(dataset_name)
        self._distributed = distributed

    def reset(self):
        super().reset()
        self._seen = []

    def process(self, inputs, outputs):
        self._seen += [str(x["image_id"]) for x in inputs]
        super().process(inputs, outputs)

    def evaluate(self):
        """Return {"bbox": {"AP", "AP50", "AP75", "AP50-CLASS", ...}} in percent, or {} off the main process."""
        mine = self._seen, self._predictions
        gathered = comm.gather(mine) if self._distributed else [mine]
        if self._distributed and not comm.is_main_process():
            return {}
        seen = {image_id for ids, _ in gathered for image_id in ids}
        images = {image_id: objects for image_id, objects in self._objects.items() if image_id in seen}
        predictions = defaultdict(list)  # class number -> lines "image_id score xmin ymin xmax ymax"
        for _, part in gathered:
            for number, lines in part.items():
                predictions[number].extend(lines)
        # Detectron2 breaks ties of rounded scores by the order of lines. The images' order is the same for all batches.
        order = {image_id: i for i, image_id in enumerate(images)}
        for lines in predictions.values():
            lines.sort(key=lambda line: order[line.split(" ", 1)[0]])
        classes = self._metadata.thing_classes
        there = {obj["name"] for found in images.values() for obj in found if not obj["difficult"]} & set(classes)
        if len(images) == len(self._objects):
            self._report_absent([name for name in classes if name not in there])
        aps = {
            name: self._average_precisions(predictions[number], _Objects(images, name))
            for number, name in enumerate(classes)
            if name in there
        }
        mean = np.mean(list(aps.values()) or [[math.nan] * len(THRESHOLDS)], axis=0).tolist()
        results = {"AP": float(np.mean(mean)), "AP50": mean[0], "AP75": mean[THRESHOLDS.index(75)]}
        return {"bbox": {**results, **{f"AP50-{name}": values[0] for name, values in aps.items()}}}

    @functools.cached_property
    def _objects(self):
        """Image id -> its objects, of the whole set, with corners that count from 1 as in VOC's files."""
        names = self._metadata.thing_classes
        return {
            str(image["image_id"]): [
                {
                    "name": names[ann["category_id"]],
                    "bbox": [side + (number < 2) for number, side in enumerate(ann["bbox"])],
                    "difficult": ann["difficult"],
                }
                for ann in image["annotations"]
            ]
            for image in DatasetCatalog.get(self._dataset_name)
        }

    def _report_absent(self, absent):
        name, total = self._dataset_name, len(self._metadata.thing_classes)
        if len(absent) == total:
            raise UserError(f'data set "{name}": no image has an object of its classes that is not difficult')
        if absent:
            # Said once, because a search evaluates a thousand times. A warning, because a search hides lower levels.
            words = f'data set "{name}": {len(absent)} of {total} classes have no object and are left out of the mean: '
            log_first_n(logging.WARNING, words + ", ".join(absent), key="message")

    def _average_precisions(self, lines, objects):
        """Return the AP of a class in percent at each of ``THRESHOLDS``. Lines of an image must stand together."""
        fields = [line.split(" ") for line in lines]
        values = np.array([field[1:] for field in fields], dtype=float).reshape(-1, 5)
        scores, boxes = values[:, 0], values[:, 1:]
        overlaps, matches = np.full(len(lines), -np.inf), np.zeros(len(lines), dtype=int)
        start = 0
        for image_id, group in itertools.groupby(fields, key=lambda field: field[0]):  # once for all thresholds
            rows = slice(start, start + sum(1 for _ in group))
            overlaps[rows], matches[rows] = objects.closest(image_id, boxes[rows])
            start = rows.stop
        order = np.argsort(-scores)  # the same kind of sort as in Detectron2 breaks ties equally
        overlaps, matches = overlaps[order], matches[order]
        use_07, aps = self._metadata.year == 2007, []
        for threshold in THRESHOLDS:
            found = overlaps > threshold / 100
            counts = found.copy()
            counts[found] = ~objects.difficult[matches[found]]
            # The first detection of an object is right, later ones are wrong. Difficult objects are neither.
            _, first = np.unique(matches[counts], return_index=True)
            right = np.zeros(len(lines), bool)
            right[np.flatnonzero(counts)[first]] = True
            wrong = np.cumsum(~found | (counts & ~right))
            right = np.cumsum(right)
            precision = right / np.maximum(right + wrong, np.finfo(float).eps)
            aps.append(100 * float(pascal_voc_evaluation.voc_ap(right / (~objects.difficult).sum(), precision, use_07)))
        return aps


class _Objects:
    """The objects of a class, from image id -> objects of all classes as Detectron2's ``parse_rec`` gives them."""

    def __init__(self, images, name):
        boxes, difficult, self.rows = [], [], {}
        for image_id, objects in images.items():
            mine = [obj for obj in objects if obj["name"] == name]
            self.rows[image_id] = slice(len(boxes), len(boxes) + len(mine))
            boxes += [obj["bbox"] for obj in mine]
            difficult += [bool(obj["difficult"]) for obj in mine]
        self.boxes = np.array(boxes, dtype=float).reshape(-1, 4)
        self.difficult = np.array(difficult, dtype=bool)

    def closest(self, image_id, boxes):
        """Return the largest IoU (inclusive pixels) and its object, (D,) each, of (D, 4) boxes x1 y1 x2 y2."""
        rows = self.rows[image_id]
        there = self.boxes[rows]
        if not len(there):
            return -np.inf, 0  # for all boxes
        corners = np.minimum(boxes[:, None, 2:], there[:, 2:]) - np.maximum(boxes[:, None, :2], there[:, :2])
        shared = np.prod(np.maximum(corners + 1, 0), axis=2)
        areas = [np.prod(b[:, 2:] - b[:, :2] + 1, axis=1) for b in (boxes, there)]
        overlaps = shared / (areas[0][:, None] + areas[1] - shared)
        return overlaps.max(axis=1), rows.start + overlaps.argmax(axis=1)
