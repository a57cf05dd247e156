#!/usr/bin/env python
"""
How many images does batch-norm recalibration need? Scores some paths of a trained supernet after recalibration on more
and more training images, each number drawn twice:

    python experiments/recalibration_curve.py --config-file CONFIG MODEL.WEIGHTS FILE      minutes

Prints, for each number, how scores differ from scores with the most images, and between draws. Stopped or killed, it
goes on when started again; the scores are in OUTPUT_DIR/recalibration.json.
"""

import argparse
import itertools
import json
import os
import random
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from scipy.stats import kendalltau
from tabulate import tabulate
from tqdm import tqdm

from detnas.config.keys import config_space
from detnas.config.load import with_settings
from detnas.errors import user_errors
from detnas.files import read_json, write_text
from detnas.launch.setup import setup
from detnas.search.evaluator import CandidateEvaluator
from detnas.search.settings import supernet_limits

DRAWS = (0, 1)


def score(cfg, counts, paths, file):
    """Scores by "images draw", each {arch: score}, also in a file that is whole at any time."""
    space, scores = config_space(cfg), read_json(file, {})
    for count, draw in itertools.product(counts, DRAWS):
        known = scores.setdefault(f"{count} {draw}", {})
        missing = [path for path in paths if space.format(path) not in known]
        if not missing:
            continue
        other = with_settings(cfg, {"SEARCH.RECALIBRATION_IMAGES": count, "SEED": draw, "SEARCH.RACING": False})
        evaluator = CandidateEvaluator(other, cfg.MODEL.WEIGHTS)
        for path in tqdm(missing, desc=f"{count} images, draw {draw}", unit="path"):
            known[space.format(path)] = evaluator(path)[cfg.SEARCH.METRIC]
            write_text(file, json.dumps(scores))
    return scores


def rows(scores, counts):
    """Yield a row per number of images."""
    archs = list(scores[f"{counts[-1]} 0"])
    most = [statistics.mean(scores[f"{counts[-1]} {draw}"][arch] for draw in DRAWS) for arch in archs]
    for count in counts:
        first, second = ([scores[f"{count} {draw}"][arch] for arch in archs] for draw in DRAWS)
        changes = [(a - m, b - m) for a, b, m in zip(first, second, most)]
        yield {
            "images": count,
            "mean score": statistics.mean(first + second),
            "change, mean": statistics.mean(map(statistics.mean, changes)),
            "change, standard deviation": statistics.mean((statistics.stdev(c) for c in zip(*changes))),
            "between draws": statistics.mean((a - b) ** 2 / 2 for a, b in zip(first, second)) ** 0.5,
            "tau with the most": statistics.mean(kendalltau(x, most).statistic for x in (first, second)),
        }


def main(args):
    with user_errors():
        cfg = setup(args)
        limits = supernet_limits(cfg)
        paths = random.Random(0).sample(list(filter(limits, limits.space.all())), args.paths)
    torch.set_num_threads(1)
    counts = sorted(args.images)
    file = os.path.join(cfg.OUTPUT_DIR, "recalibration.json")
    scores = score(cfg, counts, paths, file)
    found = list(rows(scores, counts))
    print(tabulate(found, headers="keys", tablefmt="github", floatfmt=".2f"))
    return found


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CONFIG", help="of a supernet")
    parser.add_argument("--images", type=int, nargs="+", default=[25, 50, 100, 200, 500], metavar="N")
    parser.add_argument("--paths", type=int, default=60, metavar="N", help="random ones within the limits")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
