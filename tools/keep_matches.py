#!/usr/bin/env python
"""
What the paths of a trained supernet detect, image by image, so that searches can be replayed in seconds:

    python tools/keep_matches.py --config-file CONFIG --output FOLDER --test coco:test.json:images MODEL.WEIGHTS FILE

A file for each path within the limits, ARCH.npz, with the matches on the held-out and on the test images. Stopped or
killed, it goes on when it is started again.
"""

import argparse
import itertools
import os
import random

import detnas  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import numpy as np
import torch
from tqdm import tqdm

from detnas.config.keys import config_space
from detnas.cost.limits import Limits
from detnas.data.datasets import register_dataset
from detnas.errors import UserError, user_errors
from detnas.evaluation.evaluators import build_evaluator, only_warnings
from detnas.evaluation.matches import BoxMatches
from detnas.launch.setup import setup
from detnas.search.evaluator import build_candidate_evaluator, build_held_out_batches
from detnas.search.proposals import ENUMERABLE

HELD_OUT, TEST = "held_out", "test"


def legal_paths(cfg, count=0, seed=0):
    """
    The paths of a config's space within its limits; some of them, drawn by the seed, where ``count`` is not 0.

    Raises:
        UserError: if there are too many paths to go through all.
    """
    space = config_space(cfg)
    if (total := len(space.ops) ** space.num_blocks) > ENUMERABLE:
        raise UserError(f'space "{space.name}" has {total} paths, too many to go through all of them')
    limits = Limits(cfg, space)
    paths = [p for p in itertools.product(range(len(space.ops)), repeat=space.num_blocks) if limits(p)]
    return paths if not 0 < count < len(paths) else random.Random(seed).sample(paths, count)


def keep(cfg, folder, test, paths):
    """Write the files of those paths that have none."""
    space = config_space(cfg)
    missing = [path for path in paths if not os.path.exists(file_of(folder, space, path))]
    if not missing:
        return
    os.makedirs(folder, exist_ok=True)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEARCH.RACING = False
    evaluator = build_candidate_evaluator(cfg, cfg.MODEL.WEIGHTS)
    sets = {HELD_OUT: (evaluator.held_out, evaluator.metric)}
    if test:
        register_dataset(test)
        other = cfg.clone()
        other.defrost()
        other.DATASETS.TEST = (test,)
        with only_warnings("detectron2"):
            sets[TEST] = build_held_out_batches(other, evaluator.model), build_evaluator(test, distributed=False)
    for path in tqdm(missing, unit="path"):
        evaluator.supernet.path = path
        arrays = {}
        with only_warnings("detectron2", "fvcore"):
            evaluator.recalibrate()
            for name, (evaluator.held_out, evaluator.metric) in sets.items():
                evaluator.predict()
                arrays.update({f"{name}_{field}": v for field, v in vars(evaluator.metric.matches()).items()})
        unfinished = file_of(folder, space, path) + ".tmp.npz"
        np.savez_compressed(unfinished, **arrays)
        os.replace(unfinished, file_of(folder, space, path))


def file_of(folder, space, path):
    return os.path.join(folder, f"{space.format(path)}.npz")


def read(file, name):
    """The matches of a path on one of the sets, HELD_OUT or TEST."""
    with np.load(file) as arrays:
        return BoxMatches(**{k.split(name + "_", 1)[1]: v for k, v in arrays.items() if k.startswith(name + "_")})


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CONFIG", help="of a supernet")
    parser.add_argument("--output", required=True, metavar="FOLDER")
    parser.add_argument("--test", default="", metavar="DATASET")
    parser.add_argument("--paths", type=int, default=0, metavar="N", help="so many of them, at random; 0: all")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    return parser


def main(args):
    with user_errors():
        cfg = setup(args)
        paths = legal_paths(cfg, args.paths)
    torch.set_num_threads(1)
    keep(cfg, args.output, args.test, paths)


if __name__ == "__main__":
    main(parser().parse_args())
