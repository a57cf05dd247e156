#!/usr/bin/env python
"""
Is a search worth it? Runs the same search with several seeds, from the supernet on. Trains each winner alone and
compares it with networks that need no search: a random one, and networks of a ground truth (ground_truth.py):

    python experiments/repeat_search.py                supernet, search and winner for 10 seeds; 35 minutes on 2 cores

Stopped or killed, it goes on when started again. Prints a table; all results are in experiments/searches.json.
"""

import argparse
import json
import os
import random
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from shared import GROUND_TRUTH, IN_ONE_PROCESS, read_networks, run_pool, silent_run, train, workers
from tabulate import tabulate

from detnas.command_line import argument_parser
from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.errors import UserError, user_errors
from detnas.files import read_json, write_text
from detnas.search.log import SearchLog
from detnas.search.settings import supernet_limits


def search(config_file, alone, seed, folder):
    """Train a supernet and search it in this process, unless done before; returns the findings as a dict."""
    import search_net
    import train_net

    torch.set_num_threads(1)
    # Evaluations on the way change nothing in a supernet.
    opts = ["SEED", str(seed), "OUTPUT_DIR", folder, "TEST.EVAL_PERIOD", "0", *IN_ONE_PROCESS]
    words = ["--config-file", config_file, *opts]
    with silent_run():
        if not os.path.isfile(os.path.join(folder, "model_final.pth")):
            train_net.main(argument_parser().parse_args(["--resume", *words]))
        search_net.main(search_net.parser().parse_args(words))
    log = SearchLog(folder, config_space(load_config(config_file)))
    best, first = log.best()[0], [c.score for c in log.history() if c.generation == 0]
    winner, fresh = log.space.format(best.network), os.path.join(folder, "fresh")
    weights = ["MODEL.WEIGHTS", os.path.join(folder, "model_final.pth"), "OUTPUT_DIR", fresh]
    images = ["DATASETS.TEST", str(load_config(alone).DATASETS.TEST)]
    with silent_run():
        search_net.main(search_net.parser().parse_args(["--arch", winner, *words, *weights, *images]))
    on_fresh_images = read_json(os.path.join(fresh, "evaluation.json"))["metrics"][log.header["metric"]]
    known = log.known
    drawn = next(c.network for c in log.history() if c.network not in known)
    return {"winner": winner, "random": log.space.format(drawn), "score": best.score, "candidates": len(log),
            "on fresh images": on_fresh_images,
            "first generation": statistics.mean(score for score in first if score is not None)}


class Searches:
    """Findings of each seed, and scores of networks trained alone, in a file that is whole at any time."""

    def __init__(self, file):
        self.file, content = file, read_json(file, {"searches": {}, "alone": {}})
        self.rows = {int(seed): row for seed, row in content["searches"].items()}
        self.alone = content["alone"]

    def write(self):
        write_text(self.file, json.dumps({"searches": self.rows, "alone": self.alone}, indent=1))


def mixed(archs):
    """The archs with several ops."""
    return [arch for arch in archs if len(set(arch.replace("-", ""))) > 1]


def compare(rows, scores, table, plain, count):
    """
    A row per seed, as text: the winner, the ``plain`` network, the search's first random network, and the best of
    ``count`` networks of the table. ``rows`` is seed -> findings of its search, ``scores`` is arch -> {seed: score
    alone}, ``table`` has the archs of the ground truth within the search's limits.
    """
    alone = {arch: statistics.mean(by_seed.values()) for arch, by_seed in scores.items()}
    lines = []
    for seed, row in sorted(rows.items()):
        winner = row["winner"]
        best = max(alone[arch] for arch in random.Random(f"networks of the table {seed}").sample(mixed(table), count))
        place = 1 + sum(alone[arch] > alone[winner] for arch in table)
        found = [row[name] for name in ("winner", "first generation", "score", "on fresh images")]
        lines.append([seed, *found, alone[winner], place, alone[plain], alone[row["random"]], best])
    headers = ["seed", "winner", "first generation", "score", "on fresh images", "alone", "place", plain, "random",
               f"best of {count}"]
    score, fresh, winners, plains, drawn, several = (
        [line[headers.index(name)] for line in lines]
        for name in ("score", "on fresh images", "alone", plain, "random", f"best of {count}")
    )

    def wins(*rivals):
        return sum(winner > max(rest) for winner, *rest in zip(winners, plains, *rivals))

    mean = statistics.mean(drawn)
    text = (
        f"{len(table)} networks of the table are within the limits. The winner beats {plain} in {wins()} of "
        f"{len(lines)}; {plain} and a random network in {wins(drawn)}; {plain} and the best of {count} networks of the "
        f"table in {wins(several)}. Winners: mean "
        f"{statistics.mean(winners):.1f}; random networks: mean {mean:.1f}, so a search gains "
        f"{100 * (statistics.mean(winners) / mean - 1):.1f}% over them. A winner's score is "
        f"{statistics.mean(score) - statistics.mean(fresh):.1f} higher than its AP on fresh images, both with the "
        "supernet's weights."
    )
    return f"{tabulate(lines, headers, tablefmt='github', floatfmt='.1f')}\n\n{text}"


def main(args, search=search, train=train, workers=workers):
    with user_errors():
        cfg = load_config(args.config_file)
        space = config_space(cfg)
        limits = supernet_limits(cfg)
        metric = load_config(args.alone).SEARCH.METRIC
        table = {n["arch"]: n["scores"] for n in read_networks(args.table) if limits(space.parse(n["arch"]))}
        if len(mixed(table)) < args.count:
            raise UserError(f"--count {args.count}: {args.table} has {len(mixed(table))} networks of several ops "
                            f"within the limits of {args.config_file}")
    searches, seeds = Searches(args.results), list(next(iter(table.values())))
    with workers(args.jobs) as pool:
        jobs = {seed: (args.config_file, args.alone, seed, os.path.join(args.output, str(seed)))
                for seed in range(args.seeds) if seed not in searches.rows}
        for seed, result in run_pool(pool, search, jobs):
            searches.rows[seed] = result
            searches.write()
        archs = {row[name] for row in searches.rows.values() for name in ("winner", "random")} - table.keys()
        missing = sorted((arch, s) for arch in archs for s in seeds if s not in searches.alone.get(arch, {}))
        for (arch, s), score in run_pool(pool, train, {job: (args.alone, metric, *job) for job in missing}):
            searches.alone.setdefault(arch, {})[s] = score
            searches.write()
    plain = space.format((0,) * space.num_blocks)
    print(compare(searches.rows, {**searches.alone, **table}, table, plain, args.count))


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, file, what in (
        ("--config-file", "outlines_2_train_supernet.yaml", "trains a supernet, and searches it"),
        ("--alone", "outlines_alone.yaml", "trains and tests a network alone, as in the table"),
    ):
        parser.add_argument(flag, default=os.path.join("configs", "demo", file), metavar="CONFIG", help=what)
    parser.add_argument("--table", default=GROUND_TRUTH, metavar="FILE")
    parser.add_argument("--results", default=os.path.join("experiments", "searches.json"), metavar="FILE")
    parser.add_argument("--output", default=os.path.join("output", "repeat_search"), metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="searches")
    parser.add_argument("--count", type=int, default=3, metavar="N", help="networks of the table to beat")
    parser.add_argument("--jobs", type=int, default=2, help="at once, each on one thread")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
