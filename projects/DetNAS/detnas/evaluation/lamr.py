"""
Log-average miss rate of EuroCity Persons (Braun et al., TPAMI 2019, Sec. 4), like the benchmark's own evaluation.
Boxes are (N, 4) float64, x0 y0 x1 y1 in pixels. A frame has G ground-truth boxes and D detections.
"""

import math
from collections import defaultdict
from typing import Any, Dict, List, Tuple

import numpy as np

from detnas.data.ecp import BY_COVERAGE, COUNTED, CYCLIST, DIFFICULTIES, LEFT_OUT, TYPES, box_of, judge

#: least overlap of a match, and factor by which the height of a detection may exceed the limits
_OVERLAP, _FACTOR = 0.5, 1.25
#: false positives per image at which the miss rate is taken
_POINTS = 10.0 ** np.linspace(-2, 0, 9)


class LogAverageMissRate:
    """Collects frames for :meth:`figures`. ``ignore_others``, as in the paper, ignores labels of the other type."""

    def __init__(self, ignore_others: bool = False):
        self.ignore_others, self.frames = ignore_others, 0
        self._kept: Dict[Tuple[str, str], List] = defaultdict(list)  # by (type, difficulty): [(scores, right)]
        self.counts: Dict[Tuple[str, str], Dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, labels: List[Dict[str, Any]], detections: List[Dict[str, Any]]) -> None:
        """Add a frame with labels and detections as :func:`detnas.data.ecp.read_frame` reads them."""
        self.frames += 1
        found = sorted(detections, key=lambda one: -one["score"])
        kinds = np.array([{CYCLIST: "rider"}.get(one["identity"], one["identity"]) for one in found], dtype=object)
        scores, boxes = np.array([one["score"] for one in found]), _boxes(map(box_of, found))
        heights = boxes[:, 3] - boxes[:, 1]
        for kind in TYPES:
            truth = _boxes(box_of(one, kind == "rider") for one in labels)
            common, own = _common_areas(boxes, truth), _areas(boxes)[:, None]
            for name, limits in DIFFICULTIES.items():
                judged = np.array([judge(kind, limits, one, box[3] - box[1], self.ignore_others)
                                   for one, box in zip(labels, truth)], dtype=int)
                kept = ((kinds == kind) & (heights > limits.lowest / _FACTOR) & (heights < limits.highest * _FACTOR)
                        ).nonzero()[0]
                # Labels that count come first.
                order = np.argsort(judged, kind="stable")[:np.count_nonzero(judged != LEFT_OUT)]
                shared, whole = common[kept][:, order], own[kept]
                whole = np.where(judged[order] == BY_COVERAGE, whole, whole + _areas(truth)[order] - shared)
                right = _match(shared / np.maximum(whole, 1e-9), judged[order] == COUNTED)  # an area may be 0
                scored = right >= 0
                self._kept[kind, name].append((scores[kept][scored], right[scored]))
                counts = self.counts[kind, name]
                counts["counted"] += int(np.count_nonzero(judged == COUNTED))
                counts["kept"] += len(order)
                counts["left out"] += len(labels) - len(order)
                counts["detections"] += int(scored.sum())
                counts["detections left out"] += len(found) - len(kept)
                counts["right"] += int((right == 1).sum())

    def figures(self) -> Dict[str, Dict[str, float]]:
        """Return {type: {difficulty: miss rate}}, in 0..1, lower is better, NaN where no label counts."""
        return {kind: {name: self._miss_rate(kind, name) for name in DIFFICULTIES} for kind in TYPES}

    def _miss_rate(self, kind, name):
        counted, parts = self.counts[kind, name]["counted"], self._kept[kind, name]
        if not counted:
            return math.nan
        scores, right = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        right = right[np.argsort(-scores, kind="stable")]
        recall, wrong = np.cumsum(right) / counted, np.cumsum(1 - right) / self.frames
        last = np.searchsorted(wrong, _POINTS, side="right") - 1
        reached = np.where(last >= 0, recall[np.maximum(last, 0)] if len(recall) else 0.0, 0.0)
        return float(np.exp(np.mean(np.log(np.maximum(1e-10, 1 - reached)))))


def _match(overlap, counts):
    """
    Return (D,) ints for detections, best first: 1 takes a box that counts, -1 matches another box, 0 matches none.
    A box that counts is taken once. Of equal overlaps, the later box is taken. ``overlap`` is (D, G), with boxes that
    count first, and ``counts``, (G,) bool, marks these.
    """
    right = np.zeros(len(overlap), dtype=int)
    free, first = counts.copy(), np.count_nonzero(counts)
    for number in (overlap >= _OVERLAP).any(1).nonzero()[0]:
        row = overlap[number]
        near = (row[:first] >= _OVERLAP) & free[:first]
        if near.any():
            right[number] = 1
            free[first - 1 - np.argmax(np.where(near, row[:first], -1.0)[::-1])] = False
        elif (row[first:] >= _OVERLAP).any():
            right[number] = -1
    return right


def _boxes(boxes):
    return np.array(list(boxes), dtype=float).reshape(-1, 4)


def _areas(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _common_areas(boxes, others):
    sides = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - np.maximum(boxes[:, None, :2], others[None, :, :2])
    return sides.clip(0).prod(2)
