"""Allowed values of settings: the keys of this project, and the few of Detectron2 that users change."""

import functools
import math
import operator
import re
from dataclasses import dataclass
from typing import Callable

from yacs.config import CfgNode

from detnas.errors import UserError

from .constraint import Constraint


@dataclass(frozen=True)
class Rule:
    """A test of a value, and its description, which follows "it must be"."""

    description: str
    test: Callable

    def holds(self, value) -> bool:
        try:
            return bool(self.test(value))
        except (TypeError, ValueError):
            return False  # lists: a config does not check the types and the number of their items


def at_least(low: float) -> Rule:
    return Rule(f"at least {low}", lambda value: value >= low)


def one_of(*values: str) -> Rule:
    allowed = ", ".join(f'"{value}"' for value in values[:-1])
    return Rule(f'{allowed} or "{values[-1]}"', lambda value: value in values)


FRACTION = Rule("from 0 to 1", lambda value: 0 <= value <= 1)
COUNT, NON_NEGATIVE = at_least(1), at_least(0)
POSITIVE = Rule("above 0", lambda value: value > 0)
RESOLUTION = Rule("two sides, (height, width), each at least 1", lambda v: len(v) == 2 and min(v) >= 1)


def _of_levels(what: str) -> Rule:
    return Rule(f"lists of {what} above 0, one for all levels or one for each",
                lambda levels: levels and all(level and min(level) > 0 for level in levels))


def _keys(*lines):
    """"MODEL.FPN A B" stands for MODEL.FPN.A and MODEL.FPN.B."""
    for section, *names in map(str.split, lines):
        yield from (f"{section}.{name}" for name in names)


#: KEY -> its rule
RULES = {
    "MODEL.DETNAS.SHUFFLE": one_of("even_odd", "interleave"),
    "INPUT.CLASSIFIER.CROP_AREA": Rule("two shares above 0 and up to 1, the smaller one first",
                                       lambda v: len(v) == 2 and 0 < v[0] <= v[1] <= 1),
    "INPUT.SCALE_JITTER.SIZE": Rule(f"empty, or {RESOLUTION.description}", lambda v: not v or RESOLUTION.test(v)),
    "INPUT.SCALE_JITTER.RANGE": Rule("two factors above 0, the smaller one first",
                                     lambda v: len(v) == 2 and 0 < v[0] <= v[1]),
    "INPUT.MIN_SIZE_TRAIN": Rule("sides in pixels, none below 0", lambda v: v and min(v) >= 0),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": one_of("choice", "range"),
    "INPUT.CROP.SIZE": Rule("two sides above 0", lambda v: len(v) == 2 and min(v) > 0),
    "MODEL.DEVICE": Rule("cpu, cuda or cuda:N", lambda v: re.fullmatch(r"cpu|cuda(:\d+)?", v)),
    "MODEL.PIXEL_MEAN": Rule("three numbers", lambda v: len(v) == 3 and sum(v) < math.inf),
    "MODEL.PIXEL_STD": Rule("three numbers above 0", lambda v: len(v) == 3 and min(v) > 0),
    "MODEL.ANCHOR_GENERATOR.SIZES": _of_levels("sides in pixels"),
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": _of_levels("heights to widths"),
    "DATALOADER.SAMPLER_TRAIN": one_of("TrainingSampler", "RepeatFactorTrainingSampler", "RandomSubsetTrainingSampler"),
    "SEED": Rule("from -1, for any, to 4294967295", lambda v: -1 <= v < 2 ** 32),
    "SOLVER.STEPS": Rule("iterations, the first one first", lambda v: list(v) == sorted(v) and all(n >= 0 for n in v)),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": one_of("value", "norm"),
    "SOLVER.BASE_LR": Rule("from 0 to 100", lambda v: 0 <= v <= 100),  # above 100 it has a digit too many
    "SOLVER.LR_SCHEDULER_NAME": one_of("WarmupMultiStepLR", "WarmupCosineLR", "LinearLR"),
    "SUPERNET.PATH_SAMPLING": one_of("uniform", "fair"),
    "SEARCH.RACING_PARTS": Rule("shares between 0 and 1, the smallest first",
                                lambda v: list(v) == sorted(v) and all(0 < share < 1 for share in v)),
    "SEARCH.RACING_SHARE": Rule("above 0 and at most 1", lambda v: 0 < v <= 1),
    "SEARCH.SEARCHER": one_of("evolution", "surrogate"),
    "SEARCH.EXECUTOR": one_of("here", "ray"),
    "SEARCH.AUTOCAST": one_of("", "bf16"),
    **dict.fromkeys(_keys("SEARCH FLOPS_RESOLUTION DETECTOR_RESOLUTION LATENCY_RESOLUTION"), RESOLUTION),
    **dict.fromkeys(_keys(
        "MODEL.CLASSIFIER NUM_CLASSES",
        "MODEL.FPN OUT_CHANNELS",
        "MODEL.RPN BATCH_SIZE_PER_IMAGE PRE_NMS_TOPK_TRAIN PRE_NMS_TOPK_TEST POST_NMS_TOPK_TRAIN POST_NMS_TOPK_TEST",
        "MODEL.ROI_HEADS NUM_CLASSES BATCH_SIZE_PER_IMAGE",
        "MODEL.ROI_BOX_HEAD POOLER_RESOLUTION FC_DIM CONV_DIM",
        "MODEL.RETINANET NUM_CLASSES",
        "INPUT MAX_SIZE_TRAIN MAX_SIZE_TEST",
        "TEST DETECTIONS_PER_IMAGE",
        "INPUT.CLASSIFIER SIZE",
        "SOLVER IMS_PER_BATCH ACCUMULATE MAX_ITER CHECKPOINT_PERIOD",
        "SEARCH LATENCY_BATCH POPULATION NUM_PARENTS GENERATIONS WORKERS TRIES",
        "SEARCH RECALIBRATION_IMAGES RECALIBRATION_BATCH EVALUATION_BATCH",
    ), COUNT),
    **dict.fromkeys(_keys(
        "MODEL.DETNAS FREEZE_AT",
        "MODEL.ROI_BOX_HEAD NUM_FC NUM_CONV",
        "INPUT MIN_SIZE_TEST",
        "SOLVER WARMUP_ITERS WEIGHT_DECAY",
        "TEST EVAL_PERIOD",
        "DATALOADER NUM_WORKERS IMAGE_CACHE_GB",
        "SUPERNET EVAL_RANDOM_PATHS EVAL_IMAGES",
        "SEARCH NUM_MUTATE NUM_CROSS TIMEOUT SECONDS IMAGE_CACHE_GB FRONT_WINNERS",
    ), NON_NEGATIVE),
    **dict.fromkeys(_keys("MODEL.CLASSIFIER DROPOUT LABEL_SMOOTHING"), Rule("from 0 to below 1", lambda v: 0 <= v < 1)),
    **dict.fromkeys(_keys(
        "INPUT.CLASSIFIER COLOR_JITTER",
        "MODEL.RPN POSITIVE_FRACTION NMS_THRESH",
        "MODEL.ROI_HEADS POSITIVE_FRACTION NMS_THRESH_TEST",
        "SEARCH MUTATE_PROB",
    ), FRACTION),
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": POSITIVE,
}


def check_setting(cfg: CfgNode, key: str) -> None:
    """Raise UserError if the value of a key is not allowed. The message says what is allowed."""
    value, rule = functools.reduce(operator.getitem, key.split("."), cfg), RULES[key]
    if not rule.holds(value):
        shown = f'"{value}"' if isinstance(value, str) else value
        raise UserError(f"{key} is {shown}; it must be {rule.description}")


def check_settings(cfg: CfgNode) -> None:
    """Raise UserError for the first setting whose value is not allowed."""
    for key in RULES:
        check_setting(cfg, key)
    search = cfg.SEARCH
    if search.NUM_MUTATE + search.NUM_CROSS > search.POPULATION:
        raise UserError(
            f"{search.NUM_MUTATE} children by mutation and {search.NUM_CROSS} by crossover do not fit into a "
            f"population of {search.POPULATION} (SEARCH.NUM_MUTATE, NUM_CROSS, POPULATION)"
        )
    for text in search.CONSTRAINTS:
        Constraint.parse(text)
