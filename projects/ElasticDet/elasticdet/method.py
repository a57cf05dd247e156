"""The method "elastic": searches the children of a family, from the fastest to the best."""

import logging
import os

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from detectron2.data import DatasetCatalog
from detectron2.utils.file_io import PathManager

from detnas.config.load import load_config, with_settings
from detnas.cost.costs import JoinedCosts
from detnas.cost.counted import CountedCosts
from detnas.cost.limits import DETECTOR_LATENCY, asked_costs
from detnas.errors import UserError
from detnas.export.detector_latency import DetectorMeter
from detnas.search.paths import ABOUT_BEST, PathSearch

from .evaluator import FamilyEvaluator
from .space import family_space

logger = logging.getLogger(__name__)


class DetectorTimes:
    """Costs "detector_latency_ms": ONNX Runtime's milliseconds for one image of a child's size, on this machine."""

    metrics = (DETECTOR_LATENCY,)

    def __init__(self, cfg, space):
        self.space = space
        self.meter = DetectorMeter(cfg, space, cache=os.path.join(cfg.OUTPUT_DIR, "latency.json"))
        if space.size <= cfg.SEARCH.POPULATION * cfg.SEARCH.GENERATIONS:
            # All are needed: in turns they compare best.
            self.meter(list(space.all()))

    def cost(self, metric, candidate):
        return self.meter([candidate])[0]

    def bounds(self, metric):
        return tuple(self.meter([(0,) * len(self.space.largest), self.space.largest]))

    def header(self):
        return {"detector_latency": self.meter.settings}

    def describe(self, candidates):
        """Yield lines for the user about the times of children."""
        for candidate in candidates:
            yield f"Detector {self.space.format(candidate)} in ONNX Runtime: {self.cost('', candidate):.1f} ms"


class FamilySearch(PathSearch):
    """See :class:`detnas.search.method.Method`."""

    about, whose = ABOUT_BEST, "the family's"
    evaluator_class = FamilyEvaluator

    def __init__(self, cfg, args):
        super().__init__(cfg, args)
        fewest = cfg.MODEL.ELASTIC.FEWEST_IMAGES
        images = sum(len(DatasetCatalog.get(name)) for name in cfg.DATASETS.TEST)
        if images < fewest:
            raise UserError(f"DATASETS.TEST {', '.join(cfg.DATASETS.TEST)} has {images} images; children are compared "
                            f"on {fewest} at least (MODEL.ELASTIC.FEWEST_IMAGES)")

    def check_weights(self):
        """
        Compare the family with the trained one, by the config beside the weights; UserError names a value without
        training. Without a config, or with a plain detector's, only warn that values are swept without training.
        """
        file = os.path.join(os.path.dirname(self.weights), "config.yaml")
        trained = family_space(load_config(file)) if PathManager.isfile(file) else None
        if trained is None:
            logger.warning(f"{self.weights} is of one detector: other sizes and numbers are swept, not trained.")
            return
        values = {choice.name: choice.values for choice in trained.choices}
        for name, wanted, _ in self.space.choices:
            had = values.get(name, ())
            new = [value for value in wanted if value not in had]
            if new:
                raise UserError(f"{name} {new[0]} was never trained: {file} has {', '.join(map(str, had)) or 'none'}")

    @staticmethod
    def build_costs(cfg, space):
        # Children are ordinary detectors.
        cfg = with_settings(cfg, space.settings(space.largest))
        costs = [CountedCosts(cfg, space)]
        if DETECTOR_LATENCY in asked_costs(cfg.SEARCH):
            costs.append(DetectorTimes(cfg, space))
        return JoinedCosts(*costs)

    def space_header(self):
        return self.space.header()
