#!/usr/bin/env python
"""
Is a search worth it? The same search is run with several seeds, from the supernet on; each winner is trained alone and
compared with networks that need no search, out of a ground truth (tools/ground_truth.py):

    python tools/repeat_search.py                supernet, search and winner for 10 seeds; an hour on 2 cores

Stopped or killed, it goes on when it is started again. Prints a table; all results are in docs/searches.json.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import sys

import detnas  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from ground_truth import ROOT, run_pool, train, without_log_files, workers
from tabulate import tabulate

from detnas.config import config_space
from detnas.engine.setup import argument_parser, load_config, user_errors
from detnas.search.log import SearchLog


def search(config_file, seed, folder):
    """Train a supernet and search it in this process, both unless they are done; what the search found, as a dict."""
    sys.path.insert(0, ROOT)
    import search_net
    import train_net

    torch.set_num_threads(1)
    # What is evaluated on the way leaves no trace in a supernet.
    words = ["--config-file", config_file, "SEED", str(seed), "OUTPUT_DIR", folder, "TEST.EVAL_PERIOD", "0"]
    with contextlib.redirect_stdout(open(os.devnull, "w")), without_log_files():
        if not os.path.isfile(os.path.join(folder, "model_final.pth")):
            train_net.main(argument_parser().parse_args(["--resume", *words]))
        search_net.main(search_net.parser().parse_args(words))
    log = SearchLog(folder, config_space(load_config(config_file)))
    best, first = log.best()[0], [c.score for c in log.history() if c.generation == 0]
    return {"winner": log.space.format(best.path), "score": best.score, "candidates": len(log),
            "first generation": statistics.mean(score for score in first if score is not None)}


class Searches:
    """What each seed found, and the scores of its winner, in a file that is whole at any time."""

    def __init__(self, file):
        self.file, self.rows = file, {}
        if os.path.isfile(file):
            with open(file) as f:
                self.rows = {int(seed): row for seed, row in json.load(f).items()}

    def write(self):
        with open(f"{self.file}.new", "w") as f:
            json.dump(self.rows, f, indent=1)
        os.replace(f"{self.file}.new", self.file)


def compare(rows, networks, plain, count):
    """A row for each seed: the winner, the plain network, and the best of ``count`` random ones of the table."""
    alone = {n["arch"]: statistics.mean(n["scores"].values()) for n in networks}
    others = [arch for arch in alone if len(set(arch.replace("-", ""))) > 1]
    mean = statistics.mean(alone[arch] for arch in others)
    lines, wins = [], [0, 0]
    for seed, row in sorted(rows.items()):
        score = statistics.mean(row["scores"].values())
        rest = max(alone[a] for a in random.Random(f"random networks {seed}").sample(others, count))
        wins = [wins[0] + (score > alone[plain]), wins[1] + (score > max(alone[plain], rest))]
        place = 1 + sum(other > score for other in alone.values())
        lines.append([seed, row["winner"], row["first generation"], row["score"], score, alone[plain], rest, place])
    headers = ["seed", "winner", "first generation", "its score", "alone", plain, f"best of {count} random", "place"]
    scores = [line[4] for line in lines]
    text = (
        f"The winner beats {plain} in {wins[0]} of {len(lines)}, and also the best of {count} random networks in "
        f"{wins[1]}. Winners: mean {statistics.mean(scores):.1f}; random networks of the table: mean {mean:.1f}, so a "
        f"search gains {100 * (statistics.mean(scores) / mean - 1):.1f}% over them."
    )
    return f"{tabulate(lines, headers, tablefmt='github', floatfmt='.1f')}\n\n{text}"


def main(args, search=search, train=train, workers=workers):
    with user_errors():
        space = config_space(load_config(args.config_file))
        metric = load_config(args.alone).SEARCH.METRIC
        with open(args.table) as f:
            networks = [n for n in json.load(f)["networks"] if len(n["scores"]) > 1]
    known = {n["arch"]: n["scores"] for n in networks}
    searches, seeds = Searches(args.results), list(networks[0]["scores"])
    with workers(args.jobs) as pool:
        jobs = {seed: (args.config_file, seed, os.path.join(args.output, str(seed)))
                for seed in range(args.seeds) if seed not in searches.rows}
        for seed, result in run_pool(pool, search, jobs):
            searches.rows[seed] = {**result, "scores": dict(known.get(result["winner"], {}))}
            searches.write()
        missing = {(row["winner"], s) for row in searches.rows.values() for s in seeds if s not in row["scores"]}
        jobs = {job: (args.alone, metric, *job) for job in sorted(missing)}
        for (winner, s), score in run_pool(pool, train, jobs):
            for row in searches.rows.values():
                if row["winner"] == winner:
                    row["scores"][s] = score
            searches.write()
    print(compare(searches.rows, networks, space.format((0,) * space.num_blocks), args.random))


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, file, what in (
        ("--config-file", "outlines_2_train_supernet.yaml", "trains a supernet, and searches it"),
        ("--alone", "outlines_alone.yaml", "trains and tests a network alone, as in the table"),
    ):
        parser.add_argument(flag, default=os.path.join("configs", "demo", file), metavar="CONFIG", help=what)
    parser.add_argument("--table", default=os.path.join("docs", "ground_truth.json"), metavar="FILE")
    parser.add_argument("--results", default=os.path.join("docs", "searches.json"), metavar="FILE")
    parser.add_argument("--output", default=os.path.join("output", "repeat_search"), metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="searches")
    parser.add_argument("--random", type=int, default=3, metavar="N", help="random networks that a winner must beat")
    parser.add_argument("--jobs", type=int, default=2, help="at once, each on one thread")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
