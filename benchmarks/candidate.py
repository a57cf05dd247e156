#!/usr/bin/env python
"""
What a candidate of the search costs, side by side in one run: the resident evaluator, which builds model, loaders and
recalibration images once, against one that is built anew for every candidate (as a process per candidate would).

    python benchmarks/candidate.py                                                     generated data, "tiny" space
    python benchmarks/candidate.py --config-file configs/demo/bccd_2_train_supernet.yaml

The supernet has random weights: they change the scores, hardly the times.
"""

import os
import random
import statistics
import tempfile
import time

import detnas  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.modeling import build_model
from tabulate import tabulate

from detnas.config import config_space
from detnas.data import toy
from detnas.engine.bn import recalibrate_bn
from detnas.engine.setup import argument_parser, setup, user_errors
from detnas.search.evaluator import CandidateEvaluator


def timed(function, *args):
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


def measure(cfg, candidates):
    """Seconds of every candidate: (resident, built anew, of which building, of which recalibration)."""
    torch.manual_seed(0)
    space = config_space(cfg)
    paths = [space.random_path(random.Random(i)) for i in range(candidates)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "supernet.pth")
        torch.save({"model": build_model(cfg).state_dict()}, weights)
        resident = CandidateEvaluator(cfg, weights)
        resident(paths[0])  # warm-up
        for path in paths:
            metrics, resident_seconds = timed(resident, path)
            _, recalibration = timed(recalibrate_bn, resident.up_to_last_norm, resident.recalibration)
            anew, building = timed(CandidateEvaluator, cfg, weights)
            metrics_anew, evaluation = timed(anew, path)
            assert metrics == metrics_anew, "both must give the same metrics"
            rows.append((resident_seconds, building + evaluation, building, recalibration))
    return rows


def main(args):
    with user_errors():
        if "toy" in args.config_file and toy.generate():
            print("generated datasets/toy")
        args.opts += ["OUTPUT_DIR", "output/benchmark"]
        cfg = setup(args)
    rows = measure(cfg, args.candidates)
    medians = [statistics.median(column) for column in zip(*rows)]
    names = ["resident evaluator", "built anew", "  of which building", "recalibration alone"]
    table = [[name, f"{seconds:.2f}", f"{seconds / medians[0]:.2f}"] for name, seconds in zip(names, medians)]
    print(f"\n{args.config_file}, {args.candidates} candidates, {torch.get_num_threads()} threads, medians")
    print(tabulate(table, ["", "seconds", "ratio"], disable_numparse=True))


if __name__ == "__main__":
    parser = argument_parser(__doc__)
    parser.set_defaults(config_file="configs/demo/toy_2_train_supernet.yaml")
    parser.add_argument("--candidates", type=int, default=5)
    main(parser.parse_args())
