#!/usr/bin/env python
"""
Which supernet ranks right? Trains supernets with several settings, lengths and seeds, and compares the fitness of a
ground truth's networks (experiments/ground_truth.py) in each with their scores alone:

    python experiments/supernet_ranking.py                  uniform and fair paths, four lengths, two seeds
    python experiments/supernet_ranking.py --variant "SOLVER.BASE_LR 0.05" --lengths 1600
    python experiments/supernet_ranking.py --search "SEARCH.RECALIBRATION_IMAGES 20"      judge what is there anew

Stopped or killed, it goes on when started again. Prints a table; all fitness is in supernet_ranking.json.
"""

import argparse
import json
import os
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import numpy as np
import torch
from scipy.stats import kendalltau
from shared import GROUND_TRUTH, IN_ONE_PROCESS, kendall, read_networks, run_pool, silent_run, workers
from tabulate import tabulate

from detnas.command_line import argument_parser
from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.errors import user_errors
from detnas.evaluation.readiness import AGREEMENT, LOW, read_evaluations
from detnas.files import read_json, write_text
from detnas.launch.setup import setup
from detnas.search.evaluator import CandidateEvaluator


def judge(config_file, variant, length, seed, search, archs, folder):
    """Train a supernet unless it exists: {"fitness": {arch: score}, "agreement": between its last two evaluations}."""
    import train_net

    torch.set_num_threads(1)
    # Evaluated at the quarters of any length, for comparable agreements.
    length_opts = ["SOLVER.MAX_ITER", str(length), "TEST.EVAL_PERIOD", str(length // 4)]
    opts = [*length_opts, "SEED", str(seed), "OUTPUT_DIR", folder, *IN_ONE_PROCESS, *variant.split()]
    weights = os.path.join(folder, "model_final.pth")
    with silent_run():
        if not os.path.isfile(weights):
            words = ["--config-file", config_file, "--resume", *opts]
            train_net.main(argument_parser().parse_args(words))
        words = ["--config-file", config_file, *opts, *search.replace("no-recalibration", "").split()]
        cfg = setup(argument_parser().parse_args(words))
        evaluator = CandidateEvaluator(cfg, weights, recalibrate="no-recalibration" not in search)
        space = config_space(cfg)
        fitness = {arch: round(evaluator(space.parse(arch))[cfg.SEARCH.METRIC], 3) for arch in archs}
    return {"fitness": fitness, "agreement": read_evaluations(folder)[-1].get(AGREEMENT)}


class Results:
    """Results of :func:`judge` by (variant, search, length, seed), in a file that is whole at any time."""

    def __init__(self, file):
        self.file, self.rows = file, read_json(file, [])

    def find(self, key):
        return next((row for row in self.rows if row["key"] == list(key)), None)

    def add(self, key, found):
        self.rows.append({"key": list(key), **found})
        lines = ",\n".join(json.dumps(row) for row in self.rows)
        write_text(self.file, f"[\n{lines}\n]\n")


def ceiling(networks, draws=2_000):
    """
    Kendall's tau of a perfect fitness with the means of the table's seeds: (mean, 2.5%, 97.5%). It is simulated with
    normal true scores and normal noise, with the table's variances.
    """
    scores = np.array([list(n["scores"].values()) for n in networks])
    noise = scores.var(axis=1, ddof=1).mean() / scores.shape[1]
    worth = max(scores.mean(axis=1).var(ddof=1) - noise, 0)
    rng = np.random.default_rng(0)
    taus = []
    for _ in range(draws):
        true = rng.normal(0, worth**0.5, len(scores))
        taus.append(kendalltau(true, true + rng.normal(0, noise**0.5, len(scores))).statistic)
    return statistics.mean(taus), *np.percentile(taus, [2.5, 97.5])


def table(results, networks):
    """A line per supernet and way to search it: mean fitness, agreement, and tau with the table's means."""
    alone = {n["arch"]: statistics.mean(n["scores"].values()) for n in networks}
    lines = []
    for row in sorted(results.rows, key=lambda row: row["key"]):
        fitness = [row["fitness"][arch] for arch in alone]
        tau, low, high = kendall(fitness, list(alone.values()))
        lines.append([*row["key"], statistics.mean(fitness), row["agreement"], f"{tau:.2f} [{low:.2f}, {high:.2f}]"])
    headers = ["training", "search", "iterations", "seed", "mean fitness", "agreement", "tau"]
    return tabulate(lines, headers, tablefmt="github", floatfmt=("", "", "", "", ".1f", ".2f", ""))


def foretelling(results, networks):
    """How a supernet's agreement with itself relates to its tau, in words."""
    alone = {n["arch"]: statistics.mean(n["scores"].values()) for n in networks}
    known = [row for row in results.rows if row["agreement"] is not None and not row["key"][1]]
    taus = [kendalltau([row["fitness"][arch] for arch in alone], list(alone.values())).statistic for row in known]
    if len(known) < 3:
        return "Fewer than three supernets: too few to compare agreement and tau."
    tau, low, high = kendall([row["agreement"] for row in known], taus)
    halves = [[t for row, t in zip(known, taus) if (row["agreement"] < LOW) == is_low] for is_low in (True, False)]
    words = [f"{len(half)} with an agreement {name} {LOW}{f' (mean tau {statistics.mean(half):.2f})' if half else ''}"
             for half, name in zip(halves, ("below", "of at least"))]
    return (f"Agreement and tau of {len(known)} supernets: Kendall's tau {tau:.2f} [{low:.2f}, {high:.2f}]; "
            f"{' and '.join(words)}.")


def gains(results, networks, base, draws=2_000):
    """
    Gains in tau, as a table. A supernet that differs in training alone is compared with training ``base``, one that
    differs in search alone with the search without settings. Each gain has a 95% bootstrap interval over the networks;
    "mean" is over lengths and seeds.
    """
    alone = {n["arch"]: statistics.mean(n["scores"].values()) for n in networks}
    worth = np.array(list(alone.values()))
    fitness = {tuple(row["key"]): np.array([row["fitness"][arch] for arch in alone]) for row in results.rows}
    samples = [range(len(alone)), *np.random.default_rng(0).integers(len(alone), size=(draws, len(alone)))]

    def against(key, other):
        return [kendalltau(fitness[key][i], worth[i]).statistic - kendalltau(fitness[other][i], worth[i]).statistic
                for i in samples]

    lines = []
    for column, usual in ((0, base), (1, "")):
        found = {}
        for key in sorted(fitness):
            other = (*key[:column], usual, *key[column + 1 :])
            if key[column] != usual and other in fitness:
                found.setdefault(key[column], {})[f"{key[2]}, seed {key[3]}"] = against(key, other)
        for words, by_supernet in found.items():
            if len(by_supernet) > 1:
                by_supernet["mean"] = np.mean(list(by_supernet.values()), axis=0)
            for name, (difference, *drawn) in by_supernet.items():
                low, high = np.percentile(drawn, [2.5, 97.5])
                versus = usual or "the search as it comes"
                lines.append([words, versus, name, f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"])
    return tabulate(lines, ["setting", "against", "iterations", "tau gained"], tablefmt="github")


def main(args, judge=judge, workers=workers):
    with user_errors():
        load_config(args.config_file)
        networks = read_networks(args.table)
    archs = [n["arch"] for n in networks]
    results, jobs = Results(args.results), {}
    for seed in args.seeds:
        for variant in args.variant:
            for search in args.search:
                for length in args.lengths:
                    key = (variant, search, length, seed)
                    if results.find(key) is None:
                        name = f"{variant.replace(' ', '_').replace('/', '_')}_{length}_{seed}"
                        folder = os.path.join(args.output, name)
                        jobs[key] = (args.config_file, variant, length, seed, search, archs, folder)
    with workers(args.jobs) as pool:
        for key, found in run_pool(pool, judge, jobs):
            results.add(key, found)
    mean, low, high = ceiling(networks)
    print(table(results, networks), gains(results, networks, args.variant[0]), sep="\n\n")
    print(f"\n{foretelling(results, networks)}")
    print(f"A perfect fitness would have a tau of {mean:.2f} [{low:.2f}, {high:.2f}].")


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    config = os.path.join("configs", "demo", "outlines_2_train_supernet.yaml")
    parser.add_argument("--config-file", default=config, metavar="CONFIG", help="trains a supernet, and searches it")
    parser.add_argument("--table", default=GROUND_TRUTH, metavar="FILE")
    parser.add_argument("--results", default=os.path.join("experiments", "supernet_ranking.json"), metavar="FILE")
    parser.add_argument("--output", default=os.path.join("output", "supernet_ranking"), metavar="FOLDER")
    sampling = [f"SUPERNET.PATH_SAMPLING {kind}" for kind in ("uniform", "fair")]
    parser.add_argument("--variant", nargs="+", default=sampling, metavar='"KEY VALUE ..."',
                        help="settings of trainings")
    parser.add_argument("--search", nargs="+", default=[""], metavar='"KEY VALUE ..."',
                        help='settings of the evaluation; also "no-recalibration"')
    parser.add_argument("--lengths", type=int, nargs="+", default=[400, 800, 1600, 3200], help="iterations")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2, help="at once, each on one thread")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
