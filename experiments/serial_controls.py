#!/usr/bin/env python
"""
Does a serial search of SP-NAS pay? Compares a search from a trained start network with three controls that take as
long: the start network trained on, the winner's code from random weights, and random morphs without selection.

    python experiments/serial_controls.py             two seeds on the blood cells

Training time is iterations times the CPU seconds of a network's training step, which are measured first. Stopped or
killed, it goes on when started again. Each step is a usual command line, and is printed.
"""

import argparse
import concurrent.futures
import json
import os
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from seed_runs import TEST_IMAGES, SeedRuns, box_results, step_seconds
from shared import ROOT
from tabulate import tabulate

from detnas.config.load import load_config
from detnas.errors import user_errors
from detnas.files import read_json, write_text
from detnas.report.searches import best_so_far
from detnas.search.log import read_log
from find_detector.steps import StepFailed
from spnas.evaluator import INHERITED


class Seed(SeedRuns):
    """The runs of one seed."""

    def __init__(self, args, seed):
        super().__init__(os.path.join(args.output, str(seed)), seed)
        self.args = args

    def run(self, name, script, *settings):
        flags = ["--resume"] if script == "train_net.py" else []
        super().run(name, script, self.args.config_file, *settings, flags=flags)

    def search(self):
        """Run the search, and the random sequence of morphs."""
        self.run("start", "train_net.py")
        self.run("search", "search_net.py", *self.start())
        count = len(read_log(self.path("search")))
        alone = ("SEARCH.SELECT", False, "SEARCH.CHILDREN", 1, "SEARCH.GENERATIONS", count)
        self.run("random", "search_net.py", *self.start(), *alone)

    def start(self):
        return "MODEL.WEIGHTS", self.path("start", "model_final.pth")

    def measure(self):
        """Measure once the CPU seconds of a training step of each code."""
        file = self.path("step_seconds.json")
        self.seconds = read_json(file, {})
        for log in map(read_log, (self.path("search"), self.path("random"))):
            for c in log.history():
                if str(c.network) not in self.seconds:
                    seconds = step_seconds(self.args.config_file, ["MODEL.SPNAS.CODE", str(c.network)])
                    self.seconds[str(c.network)] = statistics.median(seconds)
                    write_text(file, json.dumps(self.seconds, indent=1))

    def controls(self):
        """Train the controls; returns a list of (name of a network, code, checkpoint, seconds of its training)."""
        log, sequence = read_log(self.path("search")), read_log(self.path("random"))
        start, winner, last, top = (
            str(c.network) for c in (log.history()[0], log.best()[0], sequence.history()[-1], sequence.best()[0])
        )
        cfg = load_config(os.path.join(ROOT, self.args.config_file))
        before = cfg.SOLVER.MAX_ITER * self.seconds[start]
        searched, morphed = (
            cfg.SEARCH.CANDIDATE_ITERS * sum(self.seconds[str(c.network)] for c in found.history())
            for found in (log, sequence)
        )
        self.run("trained_on", "train_net.py", *self.start(), "SOLVER.MAX_ITER",
                 round(searched / self.seconds[start]))
        self.run("winner_from_random_weights", "train_net.py", "MODEL.SPNAS.CODE", winner,
                 "SOLVER.MAX_ITER", round((before + searched) / self.seconds[winner]))
        total, scratch = before + searched, self.path("winner_from_random_weights", "model_final.pth")
        return [
            ("start network", start, self.path("start", "model_final.pth"), before),
            ("search: winner", winner, self.path("search", "best.pth"), total),
            ("start network trained on", start, self.path("trained_on", "model_final.pth"), total),
            ("winner's code from random weights", winner, scratch, total),
            ("random morphs: last", last, self.path("random", "candidates", f"{last}.pth"), before + morphed),
            ("random morphs: best on val", top, self.path("random", "best.pth"), before + morphed),
        ]


def test(args, code, weights):
    """[AP on val, AP on test]"""
    opts = ["MODEL.SPNAS.CODE", code]
    return [box_results(args.config_file, opts, weights, images)["AP"] for images in (None, args.test)]


def search_table(log):
    """A row per candidate, with its parent's AP, its own AP just inherited, and its AP after training."""
    metric = log.header["metric"]
    scores = {c.network: c.score for c in log.history()}
    rows = []
    best = best_so_far(log)
    for number, c in enumerate(log.history(), 1):
        parent = c.parents[0] if c.parents else None
        rows.append([c.generation + 1, log.space.format(c.network), str(parent or ""), scores.get(parent),
                     c.metrics.get(INHERITED + metric), c.score, best.get(number), c.costs["backbone_flops"] / 1e6])
    headers = ["generation", "code", "parent", "its AP", "just inherited", "AP", "best so far", "multiply-adds (M)"]
    return tabulate(rows, headers, tablefmt="github", floatfmt=".1f")


def main(args):
    with user_errors():
        seeds = {seed: Seed(args, seed) for seed in args.seeds}
        try:
            with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
                list(pool.map(Seed.search, seeds.values()))
                # In the main thread, where a training can listen for signals.
                for seed in seeds.values():
                    seed.measure()
                runs = dict(zip(seeds, pool.map(Seed.controls, seeds.values())))
        except StepFailed as e:
            raise SystemExit(f"error: {e}") from None
    rows = {}
    for seed, networks in runs.items():
        print(f"\nSeed {seed}\n\n{search_table(read_log(seeds[seed].path('search')))}")
        for name, code, weights, seconds in networks:
            rows.setdefault(name, []).append((code, *test(args, code, weights), seconds))
    lines = [
        [name, ", ".join(code for code, *_ in found),
         *(" ".join(f"{row[i]:.1f}" for row in found) for i in (1, 2)),
         statistics.mean(row[2] for row in found), statistics.mean(row[3] for row in found)]
        for name, found in rows.items()
    ]
    headers = ["network", "code", "AP on val", "AP on test", "mean on test", "seconds of training"]
    print(f"\n{tabulate(lines, headers, tablefmt='github', floatfmt='.1f')}")
    return lines


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default="experiments/configs/bccd_spnas_serial.yaml", help="of the search")
    parser.add_argument("--test", default=TEST_IMAGES, help="images that nothing was chosen by")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2, help="seeds at once, a thread each")
    parser.add_argument("--output", default="output/serial_controls")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
