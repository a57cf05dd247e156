"""Average precision of boxes in VOC form."""

import itertools
import logging
import os
from collections import defaultdict

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import PascalVOCDetectionEvaluator, pascal_voc_evaluation
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import log_first_n

from detnas.data.voc import joined_ids, read_ids
from detnas.errors import UserError

from .matches import THRESHOLDS_OF, BoxMatches

#: overlaps in percent over which AP is a mean
THRESHOLDS = range(50, 100, 5)


class VOCEvaluator(PascalVOCDetectionEvaluator):
    """
    Detectron2's VOC evaluation, made fit for the small and the joined sets of a search: classes without an object that
    counts (not "difficult") are left out of the means, where Detectron2 has 0 or NaN for them; and the images may lie
    in several folders, see :func:`detnas.data.voc.joined_ids`. The metric is that of the metadata's ``year``: 11 points
    for 2007, else the area under the curve.

    Args:
        dataset_name: a registered data set in VOC form.
        distributed: whether the images are spread over the processes, so that predictions are gathered and the main
            process alone has the results; else each process evaluates what it has seen.
        image_ids: of the images that count; None: all of the data set.
    """

    def __init__(self, dataset_name, distributed=True, image_ids=None):
        # Not Detectron2's constructor, which knows a single folder. These three names are what its process() uses.
        self._dataset_name = dataset_name
        self._cpu_device = torch.device("cpu")
        self.reset()
        self._metadata = MetadataCatalog.get(dataset_name)
        self._distributed = distributed
        self._image_ids = image_ids
        self._objects = None  # class name -> its objects, of the classes that have some that count

    def reset(self):
        super().reset()
        self._seen = []

    def process(self, inputs, outputs):
        self._seen += [x["image_id"] for x in inputs]
        super().process(inputs, outputs)

    def resample(self, metric, weights):
        """
        As :meth:`detnas.evaluation.evaluators.BoxEvaluator.resample`. Detections of equal scores may count in another
        order than in :meth:`evaluate`.
        """
        if self._objects is None:
            self._read_objects()
        number, classes = {image_id: i for i, image_id in enumerate(sorted(self._seen))}, self._metadata.thing_classes
        objects = np.zeros((len(number), len(classes)), int)
        parts = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0), *np.zeros((2, 0, len(THRESHOLDS)), bool))]
        for category, name in enumerate(classes):
            if name in self._objects:
                mine = self._objects[name]
                for image_id, image in number.items():
                    objects[image, category] = (~mine.difficult[mine.rows[image_id]]).sum()
                images, scores, right, wrong = self._match(self._predictions[category], mine)
                images = np.array([number[image_id] for image_id in images], int)
                parts.append((images, np.full(len(images), category), scores, right, right | wrong))
        matches = BoxMatches(objects, *map(np.concatenate, zip(*parts)))
        use_07 = self._metadata.year == 2007
        return matches.average_precision(
            weights, THRESHOLDS_OF[metric], lambda *pair: float(pascal_voc_evaluation.voc_ap(*pair, use_07))
        )

    def evaluate(self):
        """
        Returns:
            {"bbox": {"AP", "AP50", "AP75", "AP50-CLASS" of each class that has objects}} in percent; {} on all
            processes but the main one.

        Raises:
            UserError: if no image has an object that counts.
        """
        gathered = comm.gather(self._predictions) if self._distributed else [self._predictions]
        if self._distributed and not comm.is_main_process():
            return {}
        predictions = defaultdict(list)  # class number -> lines "image_id score xmin ymin xmax ymax"
        for part in gathered:
            for number, lines in part.items():
                predictions[number].extend(lines)

        if self._objects is None:
            self._read_objects()
        # Scores are rounded, and Detectron2 breaks ties by the order of the lines: the images' order, not the batches'.
        number = {image_id: i for i, image_id in enumerate(self._images)}
        for lines in predictions.values():
            lines.sort(key=lambda line: number[line.split(" ", 1)[0]])
        classes = self._metadata.thing_classes
        self._report_absent([name for name in classes if name not in self._objects])
        aps = {
            name: self._average_precisions(predictions[number], self._objects[name])
            for number, name in enumerate(classes)
            if name in self._objects
        }
        mean = dict(zip(THRESHOLDS, np.mean(list(aps.values()), axis=0).tolist()))
        results = {"AP": float(np.mean(list(mean.values()))), "AP50": mean[50], "AP75": mean[75]}
        return {"bbox": {**results, **{f"AP50-{name}": values[0] for name, values in aps.items()}}}

    def _read_objects(self):
        metadata = self._metadata
        folders = metadata.get("folders")
        if folders:
            ids, folder = joined_ids(metadata.dirname, folders, metadata.split), metadata.dirname
        else:
            ids, folder = read_ids(metadata.dirname, metadata.split), os.path.join(metadata.dirname, "Annotations")
        if self._image_ids is not None:
            wanted = set(self._image_ids)
            ids = [image_id for image_id in ids if image_id in wanted]
        folder = PathManager.get_local_path(folder)
        self._images = {image_id: pascal_voc_evaluation.parse_rec(f"{folder}/{image_id}.xml") for image_id in ids}
        counted = {obj["name"] for found in self._images.values() for obj in found if not obj["difficult"]}
        self._objects = {name: _Objects(self._images, name) for name in counted}

    def _report_absent(self, absent):
        name, total = self._dataset_name, len(self._metadata.thing_classes)
        if len(absent) == total:
            raise UserError(f'data set "{name}": no image has an object of its classes that is not difficult')
        if absent:
            # Said once, though a search evaluates a thousand times; a warning, because a search hides what is less.
            words = f'data set "{name}": {len(absent)} of {total} classes have no object and are left out of the mean: '
            log_first_n(logging.WARNING, words + ", ".join(absent), key="message")

    def _average_precisions(self, lines, objects):
        """AP of a class in percent at each of ``THRESHOLDS``."""
        *_, right, wrong = self._match(lines, objects)
        right, wrong = np.cumsum(right, axis=0).T, np.cumsum(wrong, axis=0).T
        precision = right / np.maximum(right + wrong, np.finfo(float).eps)
        recall = right / (~objects.difficult).sum()
        use_07 = self._metadata.year == 2007
        return [100 * float(pascal_voc_evaluation.voc_ap(r, p, use_07)) for r, p in zip(recall, precision)]

    def _match(self, lines, objects):
        """
        Image ids and scores of a class's detections, best score first, and whether each is right and whether it is
        wrong at each of ``THRESHOLDS``, (detections, thresholds).

        Which object a detection overlaps most does not depend on the threshold: it is found out once, image by image,
        where Detectron2's ``voc_eval`` goes through all detections one by one for every threshold.

        Args:
            lines: detections, those of an image next to each other.
            objects: of the class, the :class:`_Objects`.
        """
        fields = [line.split(" ") for line in lines]
        values = np.array([field[1:] for field in fields], dtype=float).reshape(-1, 5)
        scores, boxes = values[:, 0], values[:, 1:]
        overlaps, matches = np.full(len(lines), -np.inf), np.zeros(len(lines), dtype=int)
        start = 0
        for image_id, group in itertools.groupby(fields, key=lambda field: field[0]):
            rows = slice(start, start + sum(1 for _ in group))
            overlaps[rows], matches[rows] = objects.closest(image_id, boxes[rows])
            start = rows.stop
        # As there: what ties are broken by depends on the kind of sorting.
        order = np.argsort(-scores)
        overlaps, matches = overlaps[order], matches[order]
        rights, wrongs = (np.zeros((len(lines), len(THRESHOLDS)), bool) for _ in range(2))
        for column, threshold in enumerate(THRESHOLDS):
            found = overlaps > threshold / 100
            counts = found.copy()
            counts[found] = ~objects.difficult[matches[found]]
            # The first detection of an object is right, later ones are wrong; difficult objects are neither.
            _, first = np.unique(matches[counts], return_index=True)
            rights[np.flatnonzero(counts)[first], column] = True
            wrongs[:, column] = ~found | (counts & ~rights[:, column])
        return [fields[i][0] for i in order], scores[order], rights, wrongs


class _Objects:
    """
    The objects of a class.

    Args:
        images: image id -> all objects in it, as Detectron2's ``parse_rec`` gives them.
        name: of the class.
    """

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
        """For each box (x1, y1, x2, y2): the largest overlap (IoU, pixels counted inclusively) and whose it is."""
        rows = self.rows[image_id]
        there = self.boxes[rows]
        if not len(there):
            return -np.inf, 0
        corners = np.minimum(boxes[:, None, 2:], there[:, 2:]) - np.maximum(boxes[:, None, :2], there[:, :2])
        shared = np.prod(np.maximum(corners + 1, 0), axis=2)
        areas = [np.prod(b[:, 2:] - b[:, :2] + 1, axis=1) for b in (boxes, there)]
        overlaps = shared / (areas[0][:, None] + areas[1] - shared)
        return overlaps.max(axis=1), rows.start + overlaps.argmax(axis=1)
