#!/usr/bin/env python
"""
How good networks really are: random networks of a space, and those of one op, each trained alone with several seeds.

    python tools/ground_truth.py                 trains what docs/ground_truth.json lacks; 50 minutes on 2 cores
    python tools/ground_truth.py --again 3       trains 3 networks of it again and compares: the same figures

A training is the command line that stands in the table as its recipe. Stopped or killed, it goes on when it is started
again. Searches and supernets are then judged by the table.
"""

import argparse
import concurrent.futures
import contextlib
import itertools
import json
import logging
import multiprocessing
import os
import random
import statistics
import sys
import tempfile

import detnas  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from tqdm import tqdm

from detnas.command_line import argument_parser
from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.cost.limits import Limits
from detnas.errors import UserError, user_errors
from detnas.files import read_json, write_text
from detnas.launch.earlier_steps import read_metrics
from detnas.training.sampling import BalancedSampler

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
#: a core has a training of its own to do; where the images are read changes no batch
IN_ONE_PROCESS = ("DATALOADER.NUM_WORKERS", "0")


def train(config_file, metric, arch, seed):
    """Score of a network that is trained alone, in this process, by what ``train_net.py`` does."""
    import train_net  # not when this file is imported: a worker needs it, the first process does not

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        opts = ["MODEL.DETNAS.ARCH", arch, "SEED", str(seed), "OUTPUT_DIR", folder, *IN_ONE_PROCESS]
        with silent_run():
            train_net.main(argument_parser().parse_args(["--config-file", config_file, *opts]))
        return round([line[metric] for line in read_metrics(folder) if metric in line][-1], 3)


@contextlib.contextmanager
def silent_run():
    """Print nothing, and drop the loggers' files afterwards: the next run in this process has its own."""
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        for name in ("fvcore", "detectron2", "detnas"):
            logging.getLogger(name).handlers.clear()


class Table:
    """
    The scores that are known, in a file that is whole at any time.

    Args:
        file: JSON; need not exist.
        recipe: what makes two tables the same one.

    Raises:
        UserError: if the file was made by another recipe.
    """

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
        """How far the seeds agree, in words; needs scipy."""
        from detnas.report.study import kendall

        whole = [n for n in self.networks.values() if all(str(s) in n["scores"] for s in seeds)]
        if len(whole) < 2 or len(seeds) < 2:
            return f"{len(whole)} networks"
        first, second = ([n["scores"][str(s)] for n in whole] for s in seeds[:2])
        tau, low, high = kendall(first, second)
        between = statistics.stdev(map(statistics.mean, zip(first, second)))
        within = statistics.mean((a - b) ** 2 / 2 for a, b in zip(first, second)) ** 0.5
        return (f"{len(whole)} networks: Kendall's tau between the seeds {tau:.2f} [{low:.2f}, {high:.2f}], standard "
                f"deviation between networks {between:.2f}, between seeds {within:.2f}, ratio {between / within:.1f}")


def read_networks(table):
    """The networks of a table that were trained with several seeds: "arch", costs, and "scores" by seed."""
    return [n for n in read_json(table)["networks"] if len(n["scores"]) > 1]


def paths_of(limits, count, seed):
    """One path per op, then random ones, as many of any multiply-adds; ``count`` of them, all within the limits."""
    space = limits.space
    paths = [path for op in range(len(space.ops)) if limits(path := (op,) * space.num_blocks)]
    # Uniform draws would nearly all cost the same, and be as good as each other.
    most = min(c.max for c in limits.constraints if c.metric == "backbone_flops")
    draw = BalancedSampler(space, seed, (limits.table.bounds("backbone_flops")[0], most))
    for number in itertools.count():
        path = draw(number)
        if len(paths) == count:
            return paths
        if limits(path) and path not in paths:
            paths.append(path)


def run_pool(pool, function, jobs):
    """Yield (key, result) of {key: arguments} as they end."""
    running = {pool.submit(function, *arguments): key for key, arguments in jobs.items()}
    try:
        for future in tqdm(concurrent.futures.as_completed(running), total=len(running), unit="training"):
            yield running[future], future.result()
    finally:
        # After Ctrl-C, or where one of them failed, no other one begins.
        for future in running:
            future.cancel()


def workers(count):
    """Processes that begin with nothing of this one."""
    return concurrent.futures.ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


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
        limits = Limits(cfg, config_space(cfg))
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
                table.networks.setdefault(arch, {"arch": arch, **limits.costs(path), "scores": {}})
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
    parser.add_argument("--data", default="python -m detnas.data.outlines", help="the command that makes the data")
    parser.add_argument("--table", default=os.path.join("docs", "ground_truth.json"), metavar="FILE")
    parser.add_argument("--networks", type=int, default=60, metavar="N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the trainings")
    parser.add_argument("--seed", type=int, default=0, help="of the random networks, or of those trained again")
    parser.add_argument("--again", type=int, default=0, metavar="N", help="train N entries again and compare")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, each on one thread")
    return parser


if __name__ == "__main__":
    result = main(parser().parse_args())
    sys.exit(0 if result else "the figures differ")
