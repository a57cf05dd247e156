"""The values that settings may have: the keys of this project, and the few of Detectron2 that are changed for a run."""

import functools
import operator
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
        except TypeError:
            # Of a list, whose values a config does not judge by their type.
            return False


def at_least(low: float) -> Rule:
    return Rule(f"at least {low}", lambda value: value >= low)


def one_of(*values: str) -> Rule:
    allowed = ", ".join(f'"{value}"' for value in values[:-1])
    return Rule(f'{allowed} or "{values[-1]}"', lambda value: value in values)


FRACTION = Rule("from 0 to 1", lambda value: 0 <= value <= 1)
COUNT, NON_NEGATIVE = at_least(1), at_least(0)
RESOLUTION = Rule("two sides, (height, width), each at least 1", lambda v: len(v) == 2 and min(v) >= 1)


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
    # One above has a digit too many.
    "SOLVER.BASE_LR": Rule("from 0 to 100", lambda v: 0 <= v <= 100),
    "SOLVER.LR_SCHEDULER_NAME": one_of("WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR", "LinearLR"),
    "SUPERNET.PATH_SAMPLING": one_of("uniform", "fair"),
    "SEARCH.SEARCHER": one_of("evolution", "surrogate"),
    "SEARCH.EXECUTOR": one_of("here", "ray"),
    "SEARCH.AUTOCAST": one_of("", "bf16"),
    **dict.fromkeys(_keys("SEARCH FLOPS_RESOLUTION DETECTOR_RESOLUTION LATENCY_RESOLUTION"), RESOLUTION),
    **dict.fromkeys(_keys(
        "MODEL.CLASSIFIER NUM_CLASSES",
        "INPUT.CLASSIFIER SIZE",
        "SOLVER IMS_PER_BATCH ACCUMULATE MAX_ITER CHECKPOINT_PERIOD",
        "SEARCH LATENCY_BATCH POPULATION NUM_PARENTS GENERATIONS WORKERS TRIES",
        "SEARCH RECALIBRATION_IMAGES RECALIBRATION_BATCH EVALUATION_BATCH",
    ), COUNT),
    **dict.fromkeys(_keys(
        "MODEL.DETNAS FREEZE_AT",
        "DATALOADER NUM_WORKERS IMAGE_CACHE_GB",
        "SUPERNET EVAL_RANDOM_PATHS EVAL_IMAGES",
        "SEARCH NUM_MUTATE NUM_CROSS TIMEOUT IMAGE_CACHE_GB FRONT_WINNERS",
    ), NON_NEGATIVE),
    **dict.fromkeys(_keys("MODEL.CLASSIFIER DROPOUT LABEL_SMOOTHING"), Rule("from 0 to below 1", lambda v: 0 <= v < 1)),
    **dict.fromkeys(_keys("INPUT.CLASSIFIER COLOR_JITTER", "SEARCH MUTATE_PROB"), FRACTION),
}


def check_settings(cfg: CfgNode) -> None:
    """Raise a UserError that names the first setting with a value that is not allowed, and what is allowed."""
    for key, rule in RULES.items():
        value = functools.reduce(operator.getitem, key.split("."), cfg)
        if not rule.holds(value):
            shown = f'"{value}"' if isinstance(value, str) else value
            raise UserError(f"{key} is {shown}; it must be {rule.description}")
    search = cfg.SEARCH
    if search.NUM_MUTATE + search.NUM_CROSS > search.POPULATION:
        raise UserError(
            f"{search.NUM_MUTATE} children by mutation and {search.NUM_CROSS} by crossover do not fit into a "
            f"population of {search.POPULATION} (SEARCH.NUM_MUTATE, NUM_CROSS, POPULATION)"
        )
    for text in search.CONSTRAINTS:
        Constraint.parse(text)
