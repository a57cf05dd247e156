#!/usr/bin/env python
"""
Step 3 of DetNAS: find the best path of a supernet. Start it again after an interruption and it continues.

    python search_net.py --config-file CONFIG                   search; writes search.jsonl and best.yaml
    python search_net.py --config-file CONFIG --eval-only       evaluate the best path of the log again
    python search_net.py --config-file CONFIG --arch ARCH       evaluate this one; both write evaluation.json

CONFIG is the one that trained the supernet; the weights are its model_final.pth, unless MODEL.WEIGHTS is given here.
"""

import dataclasses
import functools
import hashlib
import json
import os
import sys

from detnas import Constraint, CostTable  # isort: skip  # first: it mends Detectron2 0.6
from detectron2.utils.file_io import PathManager

from detnas.config import OWN_SPACE, config_space
from detnas.engine.setup import argument_parser, launch, load_config, setup, user_errors
from detnas.report import metrics_table, plot_search
from detnas.search.evaluator import CandidateEvaluator
from detnas.search.evolution import Searcher
from detnas.search.executor import run_here
from detnas.search.log import SearchLog
from detnas.search.loop import run_search


def find_weights(cfg, args):
    """The supernet's checkpoint: MODEL.WEIGHTS of the command line, else what step 2 left in the output folder."""
    trained = os.path.join(cfg.OUTPUT_DIR, "model_final.pth")
    # In the config, MODEL.WEIGHTS is what step 2 started from.
    path = cfg.MODEL.WEIGHTS if "MODEL.WEIGHTS" in args.opts else trained
    if not PathManager.isfile(path):
        raise FileNotFoundError(f"no supernet at {path}: train it with train_net.py, or give MODEL.WEIGHTS")
    return path


def search_header(cfg, space, weights):
    """What makes two searches the same one; the number of generations may grow."""
    keys = "METRIC CONSTRAINTS FLOPS_RESOLUTION POPULATION NUM_PARENTS NUM_MUTATE NUM_CROSS MUTATE_PROB"
    keys += " RECALIBRATION_IMAGES RECALIBRATION_BATCH"
    with PathManager.open(weights, "rb") as f:
        sha256 = hashlib.file_digest(f, "sha256").hexdigest() if sys.version_info >= (3, 11) else _sha256(f)
    return {
        "space": space.name,
        **({"own_space": dataclasses.asdict(space)} if space.name == OWN_SPACE else {}),
        "seed": cfg.SEED,
        "train": list(cfg.DATASETS.TRAIN),
        "held_out": list(cfg.DATASETS.TEST),
        "weights_sha256": sha256,
        **{key.lower(): cfg.SEARCH[key] for key in keys.split()},
    }


def _sha256(file):
    digest = hashlib.sha256()
    for block in iter(lambda: file.read(1 << 20), b""):
        digest.update(block)
    return digest.hexdigest()


def save_best(args, folder, space, candidate):
    """Write best.yaml: the config of the search with the candidate's arch, ready for train_net.py."""
    cfg = load_config(args.config_file, args.opts)
    cfg.MODEL.DETNAS.ARCH = space.format(candidate.path)
    cfg.MODEL.WEIGHTS = ""
    cfg.OUTPUT_DIR = os.path.join(folder, "best")
    with PathManager.open(os.path.join(folder, "best.yaml"), "w") as f:
        f.write(f"# {cfg.SEARCH.METRIC} {candidate.score:.2f} in the search, with the supernet's weights.\n")
        f.write("# Retrain it: train_net.py --config-file THIS, or MODEL.DETNAS.ARCH THIS in a config of your own.\n")
        f.write(cfg.dump())


def parse_arch(arch, space):
    try:
        return space.parse(arch)
    except ValueError as e:
        raise ValueError(f'--arch "{arch}": {e}') from None


def evaluate_only(cfg, args, space):
    if args.arch:
        candidate, path = None, parse_arch(args.arch, space)
    else:
        best = SearchLog(cfg.OUTPUT_DIR, space).best()
        if not best:
            raise ValueError(f"{cfg.OUTPUT_DIR}: the log holds no finished candidate yet")
        candidate, path = best[0], best[0].path
    evaluator = CandidateEvaluator(cfg, find_weights(cfg, args), recalibrate=not args.no_recalibration)
    metrics = evaluator(path)
    print(f"path {space.format(path)}, {cfg.DATASETS.TEST[0]}")
    print(metrics_table(metrics, candidate and candidate.metrics))
    with PathManager.open(os.path.join(cfg.OUTPUT_DIR, "evaluation.json"), "w") as f:
        result = {"path": space.format(path), "recalibrated": not args.no_recalibration, "metrics": metrics}
        json.dump(result, f, indent=2)
    return metrics


def search(cfg, args, space):
    constraints = [Constraint.parse(text) for text in cfg.SEARCH.CONSTRAINTS]
    table = CostTable.measure(space, cfg.SEARCH.FLOPS_RESOLUTION)
    for constraint in constraints:
        constraint.check_reachable(table)
    weights = find_weights(cfg, args)
    log = SearchLog(cfg.OUTPUT_DIR, space, search_header(cfg, space, weights))
    searcher = Searcher(
        space,
        is_legal=lambda path: all(constraint(table, path) for constraint in constraints),
        population=cfg.SEARCH.POPULATION,
        num_parents=cfg.SEARCH.NUM_PARENTS,
        num_mutate=cfg.SEARCH.NUM_MUTATE,
        num_cross=cfg.SEARCH.NUM_CROSS,
        mutate_prob=cfg.SEARCH.MUTATE_PROB,
        seed=max(cfg.SEED, 0),
    )
    executor = run_here(CandidateEvaluator(cfg, weights), cfg.SEARCH.METRIC)
    on_best = functools.partial(save_best, args, cfg.OUTPUT_DIR, space)
    return lambda: run_search(searcher, executor, log, cfg.SEARCH.GENERATIONS, table.costs, on_best), log


def main(args):
    with user_errors():
        if max(args.num_gpus, args.cpu_processes) > 1:
            raise ValueError("a search runs in one process so far: leave out --num-gpus and --cpu-processes")
        cfg = setup(args)
        space = config_space(cfg)
        if args.eval_only or args.arch:
            return evaluate_only(cfg, args, space)
        run, log = search(cfg, args, space)
    try:
        run()
    except KeyboardInterrupt:
        sys.exit(f"Stopped; {len(log.history())} candidates are in {log.path}. Start again to continue.")
    plot_search(log, os.path.join(cfg.OUTPUT_DIR, "search.png"))
    return log


def parser():
    parser = argument_parser(__doc__)
    parser.add_argument("--arch", help="evaluate this arch instead of searching")
    parser.add_argument(
        "--no-recalibration", action="store_true", help="evaluate with the batch-norm statistics of the checkpoint"
    )
    return parser


if __name__ == "__main__":
    args = parser().parse_args()
    launch(main, args)
