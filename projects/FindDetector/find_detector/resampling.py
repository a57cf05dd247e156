"""COCO's AP of detectors, and its uncertainty: AP on test images drawn again and again."""

import contextlib
import io
import time
from typing import Dict, List

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

#: fewest and most draws, seconds for all draws, share of the draws within the interval
FEWEST, MOST, SECONDS, WITHIN = 20, 200, 3.0, 0.9


class ResampledAP:
    """AP in percent, by pycocotools; ``truth`` is as in a COCO json, ``found`` in COCO's result form."""

    def __init__(self, truth: Dict, found: List[Dict]):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO()
            coco.dataset = truth
            coco.createIndex()
            self.eval = COCOeval(coco, coco.loadRes(found) if found else COCO(), "bbox")
            self.eval.params.areaRng, self.eval.params.areaRngLbl = [[0, 1e10]], ["all"]
            self.eval.params.maxDets = [100]
            self.eval.evaluate()
        self.names = [category["name"] for category in truth["categories"]]
        self.images, self.each = len(self.eval.params.imgIds), list(self.eval.evalImgs)

    def figures(self) -> Dict[str, float]:
        """{"AP": ..., "AP50": ..., "AP-CLASS": ...} of all images; a class without objects is left out."""
        precision = self._precision(np.arange(self.images))
        by_class = {name: _mean(precision[:, :, number]) for number, name in enumerate(self.names)}
        return {"AP": _mean(precision), "AP50": _mean(precision[0]),
                **{f"AP-{name}": ap for name, ap in by_class.items() if ap == ap}}

    def drawn(self, count: int) -> np.ndarray:
        """(count,): AP on as many images as there are, drawn with replacement; equal draws for each detector."""
        rng = np.random.default_rng(0)
        return np.array([_mean(self._precision(rng.integers(self.images, size=self.images))) for _ in range(count)])

    def affordable(self) -> int:
        """How many draws take :data:`SECONDS`, from FEWEST to MOST."""
        begun = time.perf_counter()
        self.drawn(1)
        return int(np.clip(SECONDS / (time.perf_counter() - begun), FEWEST, MOST))

    def _precision(self, chosen):
        # pycocotools matches each image by itself; only the curve is of all together.
        by_class = [self.each[start:start + self.images] for start in range(0, len(self.each), self.images)]
        self.eval.evalImgs = [images[i] for images in by_class for i in chosen]
        with contextlib.redirect_stdout(io.StringIO()):
            self.eval.accumulate()
        return self.eval.eval["precision"][:, :, :, 0, 0]  # (overlaps, recalls, classes)


def interval(values: np.ndarray) -> tuple:
    """Bounds (low, high) of the middle :data:`WITHIN` of the values, without NaN, of draws without boxes."""
    return tuple(np.nanquantile(values, [(1 - WITHIN) / 2, (1 + WITHIN) / 2]).tolist())


def _mean(precision):
    there = precision[precision > -1]
    return 100 * float(there.mean()) if there.size else float("nan")
