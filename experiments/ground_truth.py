#!/usr/bin/env python
"""
How good networks really are: trains random networks of a space, and networks of one op, alone with several seeds.

    python experiments/ground_truth.py              trains what ground_truth.json lacks; 50 minutes on 2 cores
    python experiments/ground_truth.py --again 3    trains 3 networks of it again and compares: the same figures

The table judges searches and supernets. Its recipe is the command line of a training. Stopped or killed, it goes on
when started again.
"""

import argparse
import itertools
import json
import os
import random
import statistics
import sys

from shared import GROUND_TRUTH, kendall, run_pool, train, workers
from tqdm import tqdm

from detnas.config.load import load_config
from detnas.cost.costs import all_costs
from detnas.cost.table import CostTable
from detnas.errors import UserError, user_errors
from detnas.files import read_json, write_text
from detnas.search.settings import supernet_limits


class Table:
    """The known scores in a JSON file, which is whole at any time. UserError if another recipe made the file."""

    def __init__(self, file, recipe):
        self.file, self.recipe = file, recipe
        content = read_json(file, {"recipe": recipe, "networks": []})
        if content["recipe"] != recipe:
            raise UserError(f"{file} was made by another recipe; remove it or give another --table: "
                            f"{content['recipe']} there and {recipe} now")
        self.networks = {n["arch"]: n for n in content["networks"]}

    def add(self, arch, seed, score):
        self.networks[arch]["scores"][str(seed)] = score
        lines = ",\n".join(f"  {json.dumps(n)}" for n in self.networks.values())
        write_text(self.file, f'{{\n "recipe": {json.dumps(self.recipe)},\n "networks": [\n{lines}\n ]\n}}\n')

    def summary(self, seeds):
        """How well the seeds agree, in words."""
        whole = [n for n in self.networks.values() if all(str(s) in n["scores"] for s in seeds)]
        if len(whole) < 2 or len(seeds) < 2:
            return f"{len(whole)} networks"
        first, second = ([n["scores"][str(s)] for n in whole] for s in seeds[:2])
        tau, low, high = kendall(first, second)
        between = statistics.stdev(map(statistics.mean, zip(first, second)))
        within = statistics.mean((a - b) ** 2 / 2 for a, b in zip(first, second)) ** 0.5
        return (f"{len(whole)} networks: Kendall's tau between the seeds {tau:.2f} [{low:.2f}, {high:.2f}], standard "
                f"deviation between networks {between:.2f}, between seeds {within:.2f}, ratio {between / within:.1f}")


class BalancedSampler:
    """
    Path of an iteration, uniform over ``bins`` of equal width in multiply-adds. Uniform paths nearly all cost the same,
    and would hardly train the cheapest and the dearest (released code). ``flops`` is (smallest, largest) multiply-adds
    of the backbone at 224x224. A function of (seed, iteration) alone.
    """

    def __init__(self, space, seed, flops, bins=7):
        self.space, self.seed, self.bins = space, seed, bins
        self._cost = CostTable.measure(space).flops
        self.low, self.high = flops

    def _bin(self, cost):
        """Number of a cost's bin; None out of range."""
        in_range = self.low <= cost < self.high
        return int((cost - self.low) / (self.high - self.low) * self.bins) if in_range else None

    def __call__(self, iteration):
        rng = random.Random(f"path {self.seed} {iteration}")
        wanted = rng.randrange(self.bins)
        while True:
            path = self.space.random(rng)
            if self._bin(self._cost(path)) == wanted:
                return path


def paths_of(limits, count, seed):
    """``count`` paths within the limits: one per op, then random ones, balanced over multiply-adds."""
    space = limits.space
    paths = [path for path in space.anchors().values() if limits(path)]
    # Uniform draws would nearly all cost the same and score alike.
    most = min(c.max for c in limits.constraints if c.metric == "backbone_flops")
    draw = BalancedSampler(space, seed, (limits.costs.bounds("backbone_flops")[0], most))
    for number in itertools.count():
        path = draw(number)
        if len(paths) == count:
            return paths
        if limits(path) and path not in paths:
            paths.append(path)


def check_again(table, pool, args, metric, train):
    """Train some entries again; returns whether all figures are the same."""
    entries = [(n["arch"], s) for n in table.networks.values() for s in n["scores"]]
    jobs = random.Random(args.seed).sample(entries, args.again)
    equal = True
    for (arch, seed), score in run_pool(pool, train, {job: (args.config_file, metric, *job) for job in jobs}):
        before = table.networks[arch]["scores"][seed]
        equal = equal and before == score
        tqdm.write(f"{arch} seed {seed}: {before} in the table, {score} now")
    return equal


def main(args, train=train, workers=workers):
    with user_errors():
        cfg = load_config(args.config_file)
        limits = supernet_limits(cfg)
        metric = cfg.SEARCH.METRIC
        command = f"python train_net.py --config-file {args.config_file} MODEL.DETNAS.ARCH ARCH SEED SEED"
        recipe = {"data": args.data, "command": command, "metric": metric, "limits": list(cfg.SEARCH.CONSTRAINTS)}
        table = Table(args.table, recipe)
    with workers(args.jobs) as pool:
        try:
            if args.again:
                return check_again(table, pool, args, metric, train)
            for path in paths_of(limits, args.networks, args.seed):
                arch = limits.space.format(path)
                table.networks.setdefault(arch, {"arch": arch, **all_costs(limits.costs, path), "scores": {}})
            jobs = [(a, s) for a, n in table.networks.items() for s in args.seeds if str(s) not in n["scores"]]
            for (arch, seed), score in run_pool(pool, train, {job: (args.config_file, metric, *job) for job in jobs}):
                table.add(arch, seed, score)
        except KeyboardInterrupt:
            sys.exit("Stopped. Start again to go on.")
    print(table.summary(args.seeds))
    return table


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    config = os.path.join("configs", "demo", "outlines_alone.yaml")
    parser.add_argument("--config-file", default=config, metavar="CONFIG", help="trains and tests a network alone")
    parser.add_argument("--data", default="python demo/images.py outlines", help="the command that makes the data")
    parser.add_argument("--table", default=GROUND_TRUTH, metavar="FILE")
    parser.add_argument("--networks", type=int, default=60, metavar="N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the trainings")
    parser.add_argument("--seed", type=int, default=0, help="of the random networks, or of those trained again")
    parser.add_argument("--again", type=int, default=0, metavar="N", help="train N entries again and compare")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, each on one thread")
    return parser


if __name__ == "__main__":
    result = main(parser().parse_args())
    sys.exit(0 if result else "the figures differ")
