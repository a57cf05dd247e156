"""Trains and searches a small family in this process."""

import json

from toy_runs import DEMO, SHORT, SMALL_SEARCH, detection

import search_net
import train_net
from detnas.command_line import argument_parser

TOY = str(DEMO / "Base-toy-FPN.yaml")
FAMILY = {
    **SHORT,
    "MODEL.DETNAS.SPACE": "tiny",
    "MODEL.DETNAS.ARCH": "00-00-00-00",
    "MODEL.ELASTIC.SIZES": "(32, 48, 64)",
    "MODEL.ELASTIC.CHOICES": json.dumps([["MODEL.RPN.POST_NMS_TOPK_TEST", 10, 100]]),
    "MODEL.ELASTIC.FEWEST_IMAGES": 4,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "SEARCH.METHOD": "elastic",
    "SEARCH.CONSTRAINTS": "()",
    "SEARCH.DETECTOR_RESOLUTION": "(64, 64)",
}
_SEARCH = {
    **SMALL_SEARCH,
    "SEARCH.POPULATION": 6,
    "SEARCH.NUM_MUTATE": 0,
    "SEARCH.NUM_CROSS": 0,
    "SEARCH.GENERATIONS": 1,
    "SEARCH.FRONT_WINNERS": 3,
    "SEARCH.OBJECTIVES": "('detector_flops',)",
}


def words(settings):
    return [str(word) for pair in settings.items() for word in pair]


def train(root, folder, iterations=4, *options, **more):
    keys = {**FAMILY, **detection(root), "SOLVER.MAX_ITER": iterations, "SOLVER.CHECKPOINT_PERIOD": 2,
            "TEST.EVAL_PERIOD": 3, "SUPERNET.EVAL_RANDOM_PATHS": 1, **more}
    args = ["--config-file", TOY, *options, *words(keys), "OUTPUT_DIR", str(folder)]
    train_net.main(argument_parser().parse_args(args))


def search(root, folder, *options, **more):
    keys = {**FAMILY, **detection(root), **_SEARCH, **more}
    args = ["--config-file", TOY, *options, *words(keys), "OUTPUT_DIR", str(folder)]
    return search_net.main(search_net.parser().parse_args(args))
