#!/usr/bin/env python
"""
Which supernet ranks right? Supernets are trained with several settings, lengths and seeds, and the fitness of the
networks of a ground truth (tools/ground_truth.py) in each is compared with what these reach alone:

    python tools/supernet_ranking.py --seeds 0                     uniform and fair paths, four lengths
    python tools/supernet_ranking.py --variant "SUPERNET.PATH_SAMPLING balanced" --lengths 1600
    python tools/supernet_ranking.py --search "SEARCH.RECALIBRATION_IMAGES 20"     judge those that are there anew

Stopped or killed, it goes on when it is started again. Prints a table; all fitness is in docs/supernet_ranking.json.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys

import detnas  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import numpy as np
import torch
from ground_truth import ROOT, run_pool, without_log_files, workers
from scipy.stats import kendalltau
from tabulate import tabulate

from detnas.config import config_space
from detnas.engine.setup import argument_parser, load_config, setup, user_errors
from detnas.report.study import kendall


def judge(config_file, variant, length, seed, search, archs, folder):
    """Train a supernet in this process, unless it is there. Returns {arch: fitness}; {} where ``archs`` is empty."""
    sys.path.insert(0, ROOT)
    import train_net
    from detnas.search.session import build_evaluator

    torch.set_num_threads(1)
    opts = ["SOLVER.MAX_ITER", str(length), "SEED", str(seed), "OUTPUT_DIR", folder, *variant.split()]
    weights = os.path.join(folder, "model_final.pth")
    with contextlib.redirect_stdout(open(os.devnull, "w")), without_log_files():
        if not os.path.isfile(weights):
            words = ["--config-file", config_file, "--resume", *opts]
            train_net.main(argument_parser().parse_args(words))
        words = ["--config-file", config_file, *opts, *search.replace("--no-recalibration", "").split()]
        cfg = setup(argument_parser().parse_args(words))
        evaluator = build_evaluator(cfg, weights, recalibrate="--no-recalibration" not in search)
        space = config_space(cfg)
        return {arch: round(evaluator(space.parse(arch))[cfg.SEARCH.METRIC], 3) for arch in archs}


class Results:
    """Fitness by (variant, search, length, seed), in a file that is whole at any time."""

    def __init__(self, file):
        self.file, self.rows = file, []
        if os.path.isfile(file):
            with open(file) as f:
                self.rows = json.load(f)

    def find(self, key):
        return next((row for row in self.rows if row["key"] == list(key)), None)

    def add(self, key, fitness):
        self.rows.append({"key": list(key), "fitness": fitness})
        lines = ",\n".join(json.dumps(row) for row in self.rows)
        with open(f"{self.file}.new", "w") as f:
            f.write(f"[\n{lines}\n]\n")
        os.replace(f"{self.file}.new", self.file)


def ceiling(networks, draws=2_000):
    """
    Kendall's tau that a perfect fitness would have with the mean of the table's seeds: in normal networks with the
    table's variances, the tau of what they are worth with the mean of noisy trainings; (mean, 2.5%, 97.5%).
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
    """A line for each variant and length: tau of every seed, and of the seeds' mean fitness with its interval."""
    alone = {n["arch"]: statistics.mean(n["scores"].values()) for n in networks}
    rows = {}
    for row in results.rows:
        variant, search, length, seed = row["key"]
        rows.setdefault((variant, search, length), {})[seed] = row["fitness"]
    lines = []
    for (variant, search, length), by_seed in sorted(rows.items()):
        archs = [a for a in alone if all(a in fitness for fitness in by_seed.values())]
        taus = {s: kendall([f[a] for a in archs], [alone[a] for a in archs]) for s, f in by_seed.items()}
        mean = statistics.mean(tau for tau, _, _ in taus.values())
        each = ", ".join(f"{tau:.2f} [{low:.2f}, {high:.2f}]" for _, (tau, low, high) in sorted(taus.items()))
        fitness = statistics.mean(statistics.mean(f.values()) for f in by_seed.values())
        lines.append([variant, search, length, len(archs), fitness, mean, each])
    headers = ["training", "search", "iterations", "networks", "mean fitness", "tau", "tau of each seed"]
    return tabulate(lines, headers, tablefmt="github", floatfmt=("", "", "", "", ".1f", ".2f", ""))


def gains(results, networks, draws=2_000):
    """
    A line for each variant: its tau less that of the first one, for every length and seed that both have and for their
    mean, with the 95% interval of the bootstrap over the networks.
    """
    alone = {n["arch"]: statistics.mean(n["scores"].values()) for n in networks}
    fitness = {tuple(row["key"]): row["fitness"] for row in results.rows}
    base, *others = dict.fromkeys(variant for variant, *_ in fitness)
    samples = np.random.default_rng(0).integers(len(alone), size=(draws, len(alone)))
    lines = []
    for variant in others:
        differences = {}
        for key in sorted(key[1:] for key in fitness if key[0] == variant and (base, *key[1:]) in fitness):
            new, old, worth = (
                np.array([scores[arch] for arch in alone])
                for scores in (fitness[variant, *key], fitness[base, *key], alone)
            )
            differences[key] = [
                kendalltau(new[i], worth[i]).statistic - kendalltau(old[i], worth[i]).statistic
                for i in (range(len(alone)), *samples)
            ]
        if len(differences) > 1:
            differences["all", "mean", ""] = np.mean(list(differences.values()), axis=0)
        for (search, length, seed), (difference, *drawn) in differences.items():
            low, high = np.percentile(drawn, [2.5, 97.5])
            lines.append([variant, search, length, seed, f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"])
    return tabulate(lines, ["training", "search", "iterations", "seed", f"tau less that of {base}"], tablefmt="github")


def main(args, judge=judge, workers=workers):
    with user_errors():
        load_config(args.config_file)
        with open(args.table) as f:
            networks = [n for n in json.load(f)["networks"] if len(n["scores"]) > 1]
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
        for key, fitness in run_pool(pool, judge, jobs):
            results.add(key, fitness)
    mean, low, high = ceiling(networks)
    print(table(results, networks), gains(results, networks), sep="\n\n")
    print(f"\nA perfect fitness would have a tau of {mean:.2f} [{low:.2f}, {high:.2f}].")


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    config = os.path.join("configs", "demo", "outlines_2_train_supernet.yaml")
    parser.add_argument("--config-file", default=config, metavar="CONFIG", help="trains a supernet, and searches it")
    parser.add_argument("--table", default=os.path.join("docs", "ground_truth.json"), metavar="FILE")
    parser.add_argument("--results", default=os.path.join("docs", "supernet_ranking.json"), metavar="FILE")
    parser.add_argument("--output", default=os.path.join("output", "supernet_ranking"), metavar="FOLDER")
    sampling = [f"SUPERNET.PATH_SAMPLING {kind}" for kind in ("uniform", "fair")]
    parser.add_argument("--variant", nargs="+", default=sampling, metavar='"KEY VALUE ..."',
                        help="settings of trainings")
    parser.add_argument("--search", nargs="+", default=[""], metavar='"KEY VALUE ..."',
                        help='settings of the evaluation; also "--no-recalibration"')
    parser.add_argument("--lengths", type=int, nargs="+", default=[400, 800, 1600, 3200], help="iterations")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2, help="at once, each on one thread")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
