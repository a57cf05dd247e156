"""
Which detection belongs to which object, as COCO has it. pycocotools tells the same, but image by image in Python, which
takes too long for something that is asked several times for each candidate of a search.
"""

from collections import defaultdict

import numpy as np

#: IoU thresholds
THRESHOLDS = np.linspace(0.5, 0.95, 10)
#: detections of a class in an image that count
DETECTIONS = 100


class Objects:
    """
    The objects of a data set, for :meth:`match`.

    Args:
        dataset: annotations, the dict of a file in COCO form.
    """

    def __init__(self, dataset):
        self.categories = sorted(category["id"] for category in dataset["categories"])
        found = defaultdict(list)
        for annotation in dataset["annotations"]:
            found[annotation["image_id"], annotation["category_id"]].append(annotation)
        # A crowd is what is left over for those that match no object.
        self.boxes, self.crowd = {}, {}
        for key, annotations in found.items():
            annotations.sort(key=lambda annotation: bool(annotation.get("iscrowd")))
            self.boxes[key] = np.array([annotation["bbox"] for annotation in annotations], float)
            self.crowd[key] = np.array([bool(annotation.get("iscrowd")) for annotation in annotations])

    def count(self, image_ids):
        """How many there are of each class in each image, without crowds: (images, classes)."""
        none = np.zeros(0, bool)
        return np.array([[(~self.crowd.get((i, c), none)).sum() for c in self.categories] for i in image_ids])

    def match(self, image_ids, image, category, boxes, score):
        """
        Args:
            image_ids: list.
            image, category: (detections,), indices into ``image_ids`` and ``categories``.
            boxes: (detections, 4), x, y, width, height in pixels.
            score: (detections,).

        Returns:
            numbers of the detections that count, (n,); whether each is right, (n, thresholds), and whether it is right
            or wrong, and not a part of a crowd.
        """
        pair = image * len(self.categories) + category
        order = np.lexsort((-score, pair))  # detections of equal scores stay in their order
        pairs, start, length = np.unique(pair[order], return_index=True, return_counts=True)
        rank = np.arange(len(order)) - np.repeat(start, length)
        pair = np.repeat(range(len(pairs)), length)
        order, pair, rank = (values[rank < DETECTIONS] for values in (order, pair, rank))
        right, in_crowd = np.zeros((2, len(order), len(THRESHOLDS)), bool)
        there, crowd = self._padded([(image_ids[p // len(self.categories)], self.categories[p % len(self.categories)])
                                     for p in pairs])
        taken = np.repeat(np.isnan(there[:, None, :, 0]), len(THRESHOLDS), 1)  # (pairs, thresholds, objects)
        for number in range(rank.max(initial=-1) + 1):
            mine = np.flatnonzero(rank == number)
            of = pair[mine]
            overlap = _overlaps(boxes[order[mine]], there[of], crowd[of])[:, None]
            reaches = overlap >= np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
            free = reaches & ~taken[of] & ~crowd[of][:, None]
            best = _last_best(np.where(free, overlap, -1))
            right[mine] = free.any(2)
            rows, columns = np.nonzero(right[mine])
            taken[of[rows], columns, best[rows, columns]] = True
            in_crowd[mine] = ~right[mine] & (reaches & crowd[of][:, None]).any(2)
        return order, right, ~in_crowd

    def _padded(self, keys):
        """Boxes of image and class, (keys, most objects, 4), NaN where there is none, and which are crowds."""
        most = max((len(self.crowd.get(key, ())) for key in keys), default=0)
        boxes, crowd = np.full((len(keys), most, 4), np.nan), np.zeros((len(keys), most), bool)
        for number, key in enumerate(keys):
            if key in self.boxes:
                boxes[number, : len(self.boxes[key])] = self.boxes[key]
                crowd[number, : len(self.crowd[key])] = self.crowd[key]
        return boxes, crowd


def _overlaps(box, others, crowd):
    """IoU of each box, (n, 4), with its objects, (n, objects, 4); the share of the box that lies in a crowd."""
    box = box[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        sides = np.minimum(box[..., :2] + box[..., 2:], others[..., :2] + others[..., 2:])
        sides = np.maximum(sides - np.maximum(box[..., :2], others[..., :2]), 0)
        shared, area = sides.prod(-1), box[..., 2:].prod(-1)
        return np.nan_to_num(shared / np.where(crowd, area, area + others[..., 2:].prod(-1) - shared))


def _last_best(values):
    """Where the highest value stands in the last dimension, the last of equal ones."""
    if not values.shape[-1]:
        return np.zeros(values.shape[:-1], int)
    return values.shape[-1] - 1 - values[..., ::-1].argmax(-1)
