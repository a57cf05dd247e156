"""The score of a path in a race: looks at growing parts of the held-out images, and an end where there is no hope."""

import itertools
import random

from detectron2.data import get_detection_dataset_dicts

from detnas.errors import UserError
from detnas.evaluation.evaluators import only_warnings, resampled_metrics

from .evaluator import CandidateEvaluator, build_held_out_batches
from .executor import LOOKS
from .racing import Race, bootstrap_weights, look, part_sizes


class RacedEvaluator(CandidateEvaluator):
    """
    ``evaluator(path, parents, to_beat)`` gives the metrics of a path as a :class:`CandidateEvaluator` does, and its
    looks under :data:`detnas.search.executor.LOOKS`; the looks alone of one that was stopped.

    Raises:
        UserError: also if ``SEARCH.METRIC`` cannot be resampled, or a part has no image of its own.
    """

    def __init__(self, cfg, weights, recalibrate=True):
        super().__init__(cfg, weights, recalibrate)
        self.name, self.race = cfg.SEARCH.METRIC, build_race(cfg)

    def read_held_out(self, cfg):
        """The batches of each part."""
        dicts = get_detection_dataset_dicts([cfg.DATASETS.TEST[0]], filter_empty=False)
        # A part is a sample of all images, and not those of one kind that stand first.
        random.Random(f"race {self.seed}").shuffle(dicts)
        self.ends = part_sizes(len(dicts), cfg.SEARCH.RACING_PARTS)
        parts = [dicts[begin:end] for begin, end in zip((0, *self.ends), self.ends)]
        return [build_held_out_batches(cfg, self.model, part, len(part) / len(dicts)) for part in parts]

    def __call__(self, path, parents=(), to_beat=()):
        self.supernet.path = path
        self.metric.reset()
        looks = []
        with only_warnings("detectron2", "fvcore"):
            self.recalibrate()
            for part, end, bar in itertools.zip_longest(self.held_out, self.ends, to_beat):
                self.collect(part)
                if part is self.held_out[-1]:
                    return {**self.score(), LOOKS: looks}
                looks.append(look(end, self.metric.resample(self.name, bootstrap_weights(end, self.seed))))
                if bar and self.race.is_hopeless(looks[-1], bar, self.ends[-1]):
                    return {LOOKS: looks}


def build_race(cfg):
    """
    The :class:`detnas.search.racing.Race` of a config; None without ``SEARCH.RACING``.

    Raises:
        UserError: if a setting of it is wrong, or the metric cannot be resampled.
    """
    search = cfg.SEARCH
    if not search.RACING:
        return None
    for name in cfg.DATASETS.TEST:
        can = resampled_metrics(name)
        if search.METRIC not in can:
            raise UserError(
                f'SEARCH.RACING cannot judge by SEARCH.METRIC "{search.METRIC}" of {name}; '
                f"it can by: {', '.join(can) or 'none'}"
            )
    if not 0 < search.RACING_SHARE <= 1 or search.RACING_SIGMAS < 0:
        raise UserError(
            f"SEARCH.RACING_SHARE {search.RACING_SHARE} must lie above 0 and be at most 1, and SEARCH.RACING_SIGMAS "
            f"{search.RACING_SIGMAS} must be 0 or more"
        )
    parts, costs = tuple(search.RACING_PARTS), tuple(search.OBJECTIVES)
    return Race(parts, search.RACING_SHARE, search.RACING_SIGMAS, max(search.NUM_PARENTS, 1), costs)
