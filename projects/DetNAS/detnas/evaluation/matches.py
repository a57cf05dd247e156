"""Which detections were right, image by image: average precision of any part of the images, or of resampled ones."""

from dataclasses import dataclass

import numpy as np

#: metric -> which of the ten IoUs, 0.5 to 0.95, count
THRESHOLDS_OF = {"bbox/AP": slice(None), "bbox/AP50": slice(1), "bbox/AP75": slice(5, 6)}
#: recalls at which COCO reads off the precision
_RECALLS = np.linspace(0, 1, 101)
#: numbers to hold in memory at once
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class BoxMatches:
    """
    Detections beside the objects they were matched with, as COCO matches them: that needs one image alone, the average
    precision does not.

    Args:
        objects: (images, classes), how many there are.
        image, category: (detections,), index of each.
        score: (detections,).
        right: (detections, thresholds), whether it was matched with an object, at each IoU of COCO, 0.5 to 0.95.
        counts: likewise, whether it is right or wrong at all; those on crowds are neither.
    """

    objects: np.ndarray
    image: np.ndarray
    category: np.ndarray
    score: np.ndarray
    right: np.ndarray
    counts: np.ndarray

    @classmethod
    def of_results(cls, objects, results, image_ids):
        """
        Args:
            objects: :class:`detnas.evaluation.matching.Objects` of the data set.
            results: detections as in a results file of COCO.
            image_ids: the images, in the order of the indices; ascending, as COCO goes through them.
        """
        number, classes = {i: n for n, i in enumerate(image_ids)}, {c: n for n, c in enumerate(objects.categories)}
        image = np.array([number[box["image_id"]] for box in results], int)
        category = np.array([classes[box["category_id"]] for box in results], int)
        boxes = np.array([box["bbox"] for box in results], float).reshape(-1, 4)
        score = np.array([box["score"] for box in results], float)
        which, right, counts = objects.match(list(image_ids), image, category, boxes, score)
        return cls(objects.count(image_ids), image[which], category[which], score[which], right, counts)

    def average_precision(self, weights=None, thresholds=slice(None), rule=None):
        """
        AP in percent, the mean over classes and IoU thresholds.

        Args:
            weights: (..., images), how often each image counts, whole numbers; None: once. A part of the images is a
                row of zeros and ones, a bootstrap sample one of multinomial counts.
            thresholds: which of the ten IoUs count; ``slice(1)`` gives AP50.
            rule: (recalls, precisions) of detections, best score first -> AP in 0..1; None: COCO's, 101 recalls.

        Returns:
            (...), nan where no image has an object.
        """
        weights = np.asarray(np.ones(len(self.objects)) if weights is None else weights, np.int32)
        rows = weights.reshape(-1, weights.shape[-1])
        found = np.stack([self._of_class(c, rows, thresholds, rule) for c in range(self.objects.shape[1])])
        there = ~np.isnan(found)
        with np.errstate(invalid="ignore"):
            means = np.where(there, found, 0).sum(0) / there.sum(0)
        return 100 * means.reshape(weights.shape[:-1])

    def _of_class(self, category, rows, thresholds, rule):
        """AP of one class for each row of weights, nan where it has no object."""
        mine = np.flatnonzero(self.category == category)
        # COCO lets earlier images come first among equal scores.
        mine = mine[np.lexsort((self.image[mine], -self.score[mine]))]
        totals = rows @ self.objects[:, category]
        counts, right = self.counts[mine].T[thresholds], self.right[mine].T[thresholds]
        result = np.full(len(rows), np.nan)
        there = np.flatnonzero(totals > 0)
        for some in np.array_split(there, 1 + len(there) * counts.size // _AT_ONCE):
            weight = rows[some][:, None, self.image[mine]]  # (rows, 1, detections)
            hits, seen = (np.cumsum(weight * kind, axis=2, dtype=np.int32) for kind in (counts & right, counts))
            precision = hits / np.maximum(seen, 1)
            if rule is None:
                result[some] = _at_101_recalls(hits, precision, totals[some]).mean(1)
            else:
                recall = hits / totals[some, None, None]
                result[some] = [np.mean([rule(*pair) for pair in zip(*row)]) for row in zip(recall, precision)]
        return result


def _at_101_recalls(hits, precision, totals):
    """
    COCO's AP in 0..1, (rows, thresholds).

    Args:
        hits, precision: (rows, thresholds, detections).
        totals: (rows,), numbers of objects.
    """
    rows, thresholds, detections = hits.shape
    if not hits.size:
        return np.zeros((rows, thresholds))
    # The best precision at a recall or a higher one.
    precision = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    # So many hits have such a recall; in whole numbers, so that all rows can be searched as one.
    needed = np.ceil(_RECALLS * totals[:, None]).astype(int)
    needed -= (needed - 1) / totals[:, None] >= _RECALLS
    needed += needed / totals[:, None] < _RECALLS
    start = np.arange(rows * thresholds).reshape(rows, thresholds, 1)
    span = totals.max() + 2
    place = np.searchsorted((hits + start * span).ravel(), needed[:, None] + start * span)
    inside = place < (start + 1) * detections
    return np.where(inside, precision.ravel()[np.minimum(place, hits.size - 1)], 0).mean(2)
