#!/usr/bin/env python
"""
Does a serial search of SP-NAS pay, and which? Compares ways to choose parents and children with a random sequence of
morphs, the start network trained on, and the winner's code from random weights. All begin with the same trained start
network and have the same seconds. Each way is also stopped after half of its seconds, and its network trained on.

    python experiments/serial_controls.py    two data sets, three seeds, two runs at once; hours

Stopped or killed, it goes on when started again. Each step is a usual command line, on one thread.
"""

import argparse
import concurrent.futures
import json
import os
import shutil
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import spnas  # isort: skip  # noqa: F401  it registers its keys
from seed_runs import TEST_IMAGES, TRAINING, SeedRuns, box_results, measure
from shared import IN_ONE_PROCESS, ROOT, workers
from tabulate import tabulate

from detnas.config.load import load_config
from detnas.errors import user_errors
from detnas.files import read_json, write_text
from detnas.search.log import read_log
from find_detector.steps import StepFailed

_BOARDS = "$DETNAS_DATA/deep_pcb"
#: name -> (config, images that nothing is trained on or chosen by)
DATA = {
    "bccd": ("experiments/configs/bccd_spnas_serial.yaml", TEST_IMAGES),
    "pcb": ("experiments/configs/pcb_spnas_serial.yaml", f"coco:{_BOARDS}/test.json:{_BOARDS}/images"),
}
#: ways to search, by settings
WAYS = {
    "front": ("SEARCH.SELECT", "front", "SEARCH.CHILDREN", 4),
    "line": ("SEARCH.SELECT", "line", "SEARCH.CHILDREN", 2),
    "tried": ("SEARCH.SELECT", "line", "SEARCH.CHILDREN", 1, "SEARCH.TRIALS", 4),
    "random": ("SEARCH.SELECT", "random", "SEARCH.CHILDREN", 1),
}
COMMON = ("SEARCH.GENERATIONS", 1000, "SEARCH.EVALUATE_INHERITED", False, "SEARCH.RECALIBRATION_IMAGES", 64,
          *IN_ONE_PROCESS)


class Seed(SeedRuns):
    """The runs of one seed on one data set; each network is kept as (code, checkpoint)."""

    def __init__(self, output, data, seed, seconds):
        super().__init__(os.path.join(output, data, str(seed)), seed)
        (self.config, self.images), self.seconds = DATA[data], seconds
        self.networks = {}

    def train(self, name, code, seconds=None, weights=""):
        """Train a code for so many CPU seconds of steps, by default as long as the config says."""
        settings = [*TRAINING, "MODEL.SPNAS.CODE", code, "MODEL.WEIGHTS", weights]
        if seconds:
            settings += ["SOLVER.MAX_ITER", round(seconds / self.step(code))]
        self.run(name, "train_net.py", self.config, *settings, flags=["--resume"])
        self.networks[name] = code, self.path(name, "model_final.pth")

    def step(self, code):
        """CPU seconds of a training step, measured once."""
        file = self.path("step_seconds.json")
        known = read_json(file, {})
        if code not in known:
            known[code] = measure(self.config, ["MODEL.SPNAS.CODE", code])[1]
            write_text(file, json.dumps(known, indent=1))
        return known[code]

    def search(self, way, start):
        """Search in one way for half of the seconds, then for all; train what was found at half."""
        half = f"{way}_half"
        for name, share in ((half, 0.5), (way, 1)):
            if name == way and not os.path.isdir(self.path(way)):
                shutil.copytree(self.path(half), self.path("copy"), dirs_exist_ok=True)
                os.rename(self.path("copy"), self.path(way))
            seconds = ("SEARCH.SECONDS", round(share * self.seconds))
            self.run(name, "search_net.py", self.config, "MODEL.WEIGHTS", start, *COMMON, *WAYS[way], *seconds)
        logs = {name: read_log(self.path(name)) for name in (half, way)}
        for name, log in logs.items():
            self.networks[name] = self.found(name, log.best()[0])
        if way == "random":
            # Without any choice: the last of the sequence.
            for name, log in logs.items():
                self.networks[f"{name}_last"] = self.found(name, log.history()[-1])
            half += "_last"
        code, weights = self.networks[half]
        self.train(f"{half}_trained_on", code, self.seconds / 2, weights)

    def found(self, name, candidate):
        return str(candidate.network), self.path(name, "candidates", f"{candidate.network}.pth")

    def run_all(self):
        """Run everything, and return {network: [code, AP on held-out images, AP on test images]}."""
        code = str(load_config(os.path.join(ROOT, self.config)).MODEL.SPNAS.CODE)
        self.train("start", code)
        start = self.networks["start"][1]
        for way in WAYS:
            self.search(way, start)
        self.train("start_trained_on", code, self.seconds, start)
        before = load_config(os.path.join(ROOT, self.config)).SOLVER.MAX_ITER * self.step(code)
        self.train("code_of_tried_alone", self.networks["tried"][0], before + self.seconds)
        results = read_json(self.path("results.json"), {})
        with workers(1) as pool:
            for name, (code, weights) in self.networks.items():
                if name not in results:
                    sets = (None, self.images)
                    aps = [pool.submit(test, self.config, code, weights, images).result() for images in sets]
                    results[name] = [code, *aps]
                    write_text(self.path("results.json"), json.dumps(results, indent=1))
        return results


def test(config, code, weights, images):
    return box_results(config, ["MODEL.SPNAS.CODE", code], weights, images)["AP"]


def print_table(data, results):
    """Print a row for each network, with the codes and AP of ``results``, one of :meth:`Seed.run_all` for each seed."""
    rows = []
    for name in results[0]:
        codes, held_out, tests = zip(*(found[name] for found in results))
        rows.append([name, ", ".join(codes), *(" ".join(f"{ap:.1f}" for ap in aps) for aps in (held_out, tests)),
                     statistics.mean(tests)])
    headers = ["network", "codes", "AP on held-out images", "AP on test images", "mean"]
    print(f"\n{data}\n\n{tabulate(rows, headers, tablefmt='github', floatfmt='.1f')}")


def main(args):
    jobs = [(data, seed) for seed in args.seeds for data in args.data]
    with user_errors(), concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = {job: pool.submit(Seed(args.output, *job, args.seconds).run_all) for job in jobs}
        try:
            results = {job: future.result() for job, future in futures.items()}
        except StepFailed as e:
            raise SystemExit(f"error: {e}") from None
    for data in args.data:
        print_table(data, [results[data, seed] for seed in args.seeds])


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=360, help="of each search and control (default: 360)")
    parser.add_argument("--jobs", type=int, default=2, help="seeds at once, a thread each (default: 2)")
    parser.add_argument("--output", default="output/serial_controls")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
