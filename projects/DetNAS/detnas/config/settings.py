"""The values that settings may have: one table for the keys of this project and those of Detectron2 that it uses."""

import functools
import operator
import re
from dataclasses import dataclass
from typing import Callable

from .constraint import Constraint


@dataclass(frozen=True)
class Rule:
    """A test of a value, and its description, which follows "it must be"."""

    words: str
    test: Callable

    def holds(self, value):
        try:
            return bool(self.test(value))
        except TypeError:
            # Of a list, whose values a config does not judge by their type.
            return False


def at_least(low):
    return Rule(f"at least {low}", lambda value: value >= low)


def one_of(*values):
    words = ", ".join(f'"{value}"' for value in values[:-1])
    return Rule(f'{words} or "{values[-1]}"', lambda value: value in values)


def each(rule):
    """The rule of a list that is not empty and whose values all follow a rule."""
    return Rule(f"a list of values, each {rule.words}", lambda values: bool(values) and all(map(rule.holds, values)))


POSITIVE = Rule("more than 0", lambda value: value > 0)
FRACTION = Rule("from 0 to 1", lambda value: 0 <= value <= 1)
FRACTION_BELOW_1 = Rule("from 0 to below 1", lambda value: 0 <= value < 1)
COUNT, NON_NEGATIVE = at_least(1), at_least(0)
RESOLUTION = Rule("two sides, (height, width), each at least 1", lambda v: len(v) == 2 and min(v) >= 1)
RANGE = Rule("two shares above 0 and up to 1, the smaller one first",
             lambda v: len(v) == 2 and 0 < v[0] <= v[1] <= 1)
FLOPS_RANGE = Rule("empty, or two numbers of multiply-adds, the smaller one first",
                   lambda v: not v or len(v) == 2 and 0 <= v[0] < v[1])
DEVICE = Rule('"cuda", "cuda:NUMBER", "cpu" or another device of torch',
              lambda v: re.fullmatch(r"(cpu|cuda|mps|xpu|meta)(:\d+)?", v))
#: a learning rate above is one in which a digit too many was typed
LEARNING_RATE = Rule("from 0 to 100", lambda value: 0 <= value <= 100)

RULES = {
    "SEED": Rule("a whole number below 2 ** 31, negative for another one each time", lambda value: value < 2**31),
    "MODEL.DEVICE": DEVICE,
    "MODEL.PIXEL_STD": each(POSITIVE),
    "MODEL.ANCHOR_GENERATOR.SIZES": each(each(POSITIVE)),
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": each(each(POSITIVE)),
    "MODEL.DETNAS.SHUFFLE": one_of("even_odd", "interleave"),
    "MODEL.DETNAS.FREEZE_AT": NON_NEGATIVE,
    "MODEL.CLASSIFIER.NUM_CLASSES": COUNT,
    "MODEL.CLASSIFIER.DROPOUT": FRACTION_BELOW_1,
    "MODEL.CLASSIFIER.LABEL_SMOOTHING": FRACTION_BELOW_1,
    "MODEL.FPN.OUT_CHANNELS": COUNT,
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": COUNT,
    "MODEL.RPN.POSITIVE_FRACTION": FRACTION,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": COUNT,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": COUNT,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": COUNT,
    "MODEL.RPN.POST_NMS_TOPK_TEST": COUNT,
    "MODEL.RPN.NMS_THRESH": FRACTION,
    "MODEL.ROI_HEADS.NUM_CLASSES": COUNT,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": COUNT,
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": FRACTION,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": FRACTION,
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": FRACTION,
    "MODEL.ROI_BOX_HEAD.NUM_CONV": NON_NEGATIVE,
    "MODEL.ROI_BOX_HEAD.CONV_DIM": COUNT,
    "MODEL.ROI_BOX_HEAD.NUM_FC": NON_NEGATIVE,
    "MODEL.ROI_BOX_HEAD.FC_DIM": COUNT,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": COUNT,
    "MODEL.RETINANET.NUM_CLASSES": COUNT,
    "MODEL.RETINANET.NUM_CONVS": NON_NEGATIVE,
    "MODEL.RETINANET.SCORE_THRESH_TEST": FRACTION,
    "MODEL.RETINANET.NMS_THRESH_TEST": FRACTION,
    "MODEL.RETINANET.TOPK_CANDIDATES_TEST": COUNT,
    "INPUT.FORMAT": one_of("BGR", "RGB", "YUV-BT.601"),
    "INPUT.MIN_SIZE_TRAIN": each(COUNT),
    "INPUT.MAX_SIZE_TRAIN": COUNT,
    "INPUT.MIN_SIZE_TEST": NON_NEGATIVE,
    "INPUT.MAX_SIZE_TEST": COUNT,
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": one_of("choice", "range"),
    "INPUT.RANDOM_FLIP": one_of("horizontal", "vertical", "none"),
    "INPUT.CLASSIFIER.SIZE": COUNT,
    "INPUT.CLASSIFIER.CROP_AREA": RANGE,
    "INPUT.CLASSIFIER.COLOR_JITTER": FRACTION,
    "DATALOADER.NUM_WORKERS": NON_NEGATIVE,
    "DATALOADER.IMAGE_CACHE_GB": NON_NEGATIVE,
    "DATALOADER.REPEAT_THRESHOLD": NON_NEGATIVE,
    "DATALOADER.SAMPLER_TRAIN": one_of("TrainingSampler", "RepeatFactorTrainingSampler", "RandomSubsetTrainingSampler"),
    "SOLVER.IMS_PER_BATCH": COUNT,
    "SOLVER.REFERENCE_WORLD_SIZE": NON_NEGATIVE,
    "SOLVER.ACCUMULATE": COUNT,
    "SOLVER.BASE_LR": LEARNING_RATE,
    "SOLVER.MOMENTUM": FRACTION_BELOW_1,
    "SOLVER.WEIGHT_DECAY": NON_NEGATIVE,
    "SOLVER.LR_SCHEDULER_NAME": one_of("WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR", "LinearLR"),
    "SOLVER.MAX_ITER": COUNT,
    "SOLVER.GAMMA": POSITIVE,
    "SOLVER.WARMUP_ITERS": NON_NEGATIVE,
    "SOLVER.WARMUP_FACTOR": FRACTION,
    "SOLVER.WARMUP_METHOD": one_of("linear", "constant"),
    "SOLVER.CHECKPOINT_PERIOD": COUNT,
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": one_of("value", "norm"),
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": POSITIVE,
    "SOLVER.CLIP_GRADIENTS.NORM_TYPE": POSITIVE,
    "SUPERNET.PATH_SAMPLING": one_of("uniform", "balanced", "fair"),
    "SUPERNET.BALANCED_FLOPS": FLOPS_RANGE,
    "SUPERNET.BALANCED_BINS": COUNT,
    "SUPERNET.EVAL_RANDOM_PATHS": NON_NEGATIVE,
    "SUPERNET.EVAL_IMAGES": NON_NEGATIVE,
    "SEARCH.FLOPS_RESOLUTION": RESOLUTION,
    "SEARCH.DETECTOR_RESOLUTION": RESOLUTION,
    "SEARCH.LATENCY_RESOLUTION": RESOLUTION,
    "SEARCH.LATENCY_BATCH": COUNT,
    "SEARCH.POPULATION": COUNT,
    "SEARCH.NUM_PARENTS": COUNT,
    "SEARCH.GENERATIONS": COUNT,
    "SEARCH.NUM_MUTATE": NON_NEGATIVE,
    "SEARCH.NUM_CROSS": NON_NEGATIVE,
    "SEARCH.MUTATE_PROB": FRACTION,
    "SEARCH.EXECUTOR": one_of("here", "ray"),
    "SEARCH.WORKERS": COUNT,
    "SEARCH.TRIES": COUNT,
    "SEARCH.TIMEOUT": NON_NEGATIVE,
    "SEARCH.RECALIBRATION_IMAGES": COUNT,
    "SEARCH.RECALIBRATION_BATCH": COUNT,
    "SEARCH.EVALUATION_BATCH": COUNT,
    "SEARCH.IMAGE_CACHE_GB": NON_NEGATIVE,
    "SEARCH.AUTOCAST": one_of("", "bf16"),
}


def check_settings(cfg):
    """Raise a ValueError that names the first setting with a value that is not allowed, and what is allowed."""
    for key, rule in RULES.items():
        value = functools.reduce(operator.getitem, key.split("."), cfg)
        if not rule.holds(value):
            shown = f'"{value}"' if isinstance(value, str) else value
            raise ValueError(f"{key} is {shown}; it must be {rule.words}")
    search = cfg.SEARCH
    if search.NUM_MUTATE + search.NUM_CROSS > search.POPULATION:
        raise ValueError(
            f"{search.NUM_MUTATE} children by mutation and {search.NUM_CROSS} by crossover do not fit into a "
            f"population of {search.POPULATION} (SEARCH.NUM_MUTATE, NUM_CROSS, POPULATION)"
        )
    for text in search.CONSTRAINTS:
        Constraint.parse(text)
