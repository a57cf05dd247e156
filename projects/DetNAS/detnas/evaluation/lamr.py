"""
Log-average miss rate of EuroCity Persons (Braun et al., TPAMI 2019, Sec. 4), as the benchmark's own evaluation has it.

Boxes are (N, 4) float64, x0 y0 x1 y1 in pixels. G boxes of ground truth and D detections of a frame.
"""

import math
from collections import defaultdict
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

#: what is measured, and the sides of an image, in pixels
TYPES, WIDTH, HEIGHT = ("pedestrian", "rider"), 1920, 1024


class Difficulty(NamedTuple):
    """Which boxes of the type count: heights in pixels, and percent of a box that is occluded or outside the image."""

    lowest: float
    highest: float
    below: float
    occluded: float = 0


DIFFICULTIES = {
    "reasonable": Difficulty(40, math.inf, 40), "small": Difficulty(30, 60, 40),
    "occluded": Difficulty(40, math.inf, 80, 40), "all": Difficulty(20, math.inf, 80),
}
#: a match, and how far the height of a detection may lie outside the limits
_OVERLAP, _FACTOR = 0.5, 1.25
#: false positives an image at which the miss rate is taken
_POINTS = 10.0 ** np.linspace(-2, 0, 9)
_COUNTED, _BY_OVERLAP, _BY_COVERAGE, _LEFT_OUT = range(4)
#: groups whose detections neither count nor are false, by type
_GROUPS = {"pedestrian": "person-group-far-away", "rider": "rider+vehicle-group-far-away"}


class LogAverageMissRate:
    """
    Collects frames; see :meth:`figures`.

    Args:
        ignore_others: detections of the other type's boxes are neither right nor wrong: the paper's ignore setting.
    """

    def __init__(self, ignore_others: bool = False):
        self.ignore_others, self.frames = ignore_others, 0
        # (type, difficulty) -> scores and whether right, of each frame; and counts
        self._kept: Dict[Tuple[str, str], List] = defaultdict(list)
        self.counts: Dict[Tuple[str, str], Dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, labels: List[Dict[str, Any]], detections: List[Dict[str, Any]]) -> None:
        """
        A frame: boxes of ground truth and detections as the files have them, with "identity", "x0", ..., and "tags" and
        "children", or a "score".
        """
        self.frames += 1
        found = sorted(detections, key=lambda one: -one["score"])
        kinds = np.array([{"cyclist": "rider"}.get(one["identity"], one["identity"]) for one in found], dtype=object)
        scores, boxes = np.array([one["score"] for one in found]), _boxes(found)
        heights, facts = boxes[:, 3] - boxes[:, 1], [_occlusion(one) for one in labels]
        for kind in TYPES:
            truth = _boxes([_with_children(one) if kind == "rider" else one for one in labels])
            common, own = _common_areas(boxes, truth), _areas(boxes)[:, None]
            for name, limits in DIFFICULTIES.items():
                judged = np.array([self._judge(kind, limits, one, box, hidden) for one, box, hidden in
                                   zip(labels, truth, facts)], dtype=int)
                kept = ((kinds == kind) & (heights > limits.lowest / _FACTOR) & (heights < limits.highest * _FACTOR)
                        ).nonzero()[0]
                # Those that count come first.
                order = np.argsort(judged, kind="stable")[:np.count_nonzero(judged != _LEFT_OUT)]
                shared, whole = common[kept][:, order], own[kept]
                whole = np.where(judged[order] == _BY_COVERAGE, whole, whole + _areas(truth)[order] - shared)
                # A box outside the image has no area.
                right = _match(shared / np.maximum(whole, 1e-9), judged[order] == _COUNTED)
                scored = right >= 0
                self._kept[kind, name].append((scores[kept][scored], right[scored]))
                counts = self.counts[kind, name]
                counts["counted"] += int(np.count_nonzero(judged == _COUNTED))
                counts["kept"] += len(order)
                counts["left out"] += len(labels) - len(order)
                counts["detections"] += int(scored.sum())
                counts["detections left out"] += len(found) - len(kept)
                counts["right"] += int((right == 1).sum())

    def figures(self) -> Dict[str, Dict[str, float]]:
        """{type: {difficulty: miss rate in 0..1, lower is better; NaN where there is nothing to count}}."""
        return {kind: {name: self._miss_rate(kind, name) for name in DIFFICULTIES} for kind in TYPES}

    def _judge(self, kind, limits, one, box, hidden):
        identity, tags = one["identity"], one.get("tags", ())
        if identity == _GROUPS[kind]:
            return _LEFT_OUT if kind == "pedestrian" and "depiction" in tags else _BY_COVERAGE
        if identity != kind:
            return _BY_OVERLAP if self.ignore_others and identity in TYPES else _LEFT_OUT
        occluded, truncated = hidden
        if kind == "pedestrian" and ("sitting-lying" in tags or "behind-glass" in tags):
            return _BY_OVERLAP
        fits = limits.lowest <= box[3] - box[1] <= limits.highest
        seen = limits.occluded <= occluded < limits.below and truncated < limits.below
        return _COUNTED if fits and seen else _BY_OVERLAP

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
    For each detection, the best first, 1 if it takes a box that counts, -1 if it takes another one, 0 if none. Each box
    that counts is taken once; of equal overlaps the later box is.

    Args:
        overlap: (D, G), boxes that count first.
        counts: (G,), which these are.
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


def _boxes(found):
    boxes = np.array([[one[key] for key in ("x0", "y0", "x1", "y1")] for one in found], dtype=float).reshape(-1, 4)
    return boxes.clip(0, [WIDTH, HEIGHT, WIDTH, HEIGHT])


def _with_children(one):
    """A rider's box with its vehicle."""
    if one["identity"] != "rider" or not one.get("children"):
        return one
    all_ = [one, *one["children"]]
    return {**one, **{key: min(each[key] for each in all_) for key in ("x0", "y0")},
            **{key: max(each[key] for each in all_) for key in ("x1", "y1")}}


def _occlusion(one):
    """Percent that are occluded and truncated, by the tags."""
    tags = [tag.partition(">") for tag in one.get("tags", ())]
    return [max((int(percent) for word, _, percent in tags if word == what and percent.isdigit()), default=0)
            for what in ("occluded", "truncated")]


def _areas(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _common_areas(boxes, others):
    sides = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - np.maximum(boxes[:, None, :2], others[None, :, :2])
    return sides.clip(0).prod(2)
