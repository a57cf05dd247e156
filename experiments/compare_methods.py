#!/usr/bin/env python
"""
DetNAS, SP-NAS, or neither? Compares both and a plain network of each, with the same images, detector and CPU seconds:

    python experiments/compare_methods.py            two seeds on the blood cells

- DetNAS: supernet, search, the winner trained on from the supernet's weights.
- SP-NAS: start network, serial search, parallel search, the winner trained on from the search's weights.
- Plain networks, and with --from-random-weights the winners: one training for the whole time.

Each step is a usual command line, and is printed. Its time is the user and system seconds of its process, evaluations
included. The last step fills up --seconds, and is repeated if it misses them. Stopped or killed, the comparison goes on
when started again; the interrupted step begins anew.
"""

import argparse
import concurrent.futures
import os
import re
import statistics
from typing import NamedTuple, Tuple

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from seed_runs import TEST_IMAGES, TRAINING, TimedRuns, box_results
from shared import IN_ONE_PROCESS, ROOT
from tabulate import tabulate

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.cost.detector import backbone_costs
from detnas.errors import user_errors
from detnas.search.log import read_log
from find_detector.steps import StepFailed

DETNAS, SPNAS = (f"experiments/configs/bccd_compare_{name}.yaml" for name in ("detnas", "spnas"))
#: share of the total by which a method, and a control, may miss it before the last step is repeated
OF_METHOD, OF_CONTROL = 0.03, 0.15


class Network(NamedTuple):
    """A trained network: a row of the table."""

    name: str
    config: str
    opts: Tuple[str, ...]
    weights: str
    steps: Tuple[str, ...]  # that made it


class Seed(TimedRuns):
    """The runs of one seed."""

    def __init__(self, args, seed):
        super().__init__(os.path.join(args.output, str(seed)), seed, args.seconds)
        self.args = args

    def best(self, search):
        """A search's winner as text."""
        log = read_log(self.path(search))
        return log.space.format(log.best()[0].network)

    def detnas_rows(self):
        """Yield the rows of DetNAS."""
        self.run("detnas_supernet", "train_net.py", DETNAS, *TRAINING, "SOLVER.MAX_ITER", self.args.supernet_iterations)
        supernet = ("MODEL.WEIGHTS", self.path("detnas_supernet", "model_final.pth"))
        self.run("detnas_search", "search_net.py", DETNAS, *IN_ONE_PROCESS, *supernet)
        spent = ("detnas_supernet", "detnas_search")
        arch, found = self.best("detnas_search"), self.path("detnas_search", "best.pth")
        winner = ("MODEL.DETNAS.ARCH", arch)
        yield Network("DetNAS: winner of the search", DETNAS, winner, found, spent)
        last = self.train_for("detnas_winner", spent, OF_METHOD, DETNAS, *winner, "MODEL.WEIGHTS", found)
        yield self.trained("DetNAS: winner, trained on", DETNAS, winner, last, spent)

    def plain_rows(self):
        """Yield the rows of the plain networks."""
        arch = "0" * config_space(load_config(os.path.join(ROOT, DETNAS))).num_blocks
        for name, config, opts in (
            ("plain: all 3x3 of DetNAS's space", DETNAS, ("MODEL.DETNAS.ARCH", arch)),
            ("plain: SP-NAS's start network", SPNAS, ()),
        ):
            label = "detnas_plain" if config == DETNAS else "spnas_plain"
            yield self.trained(name, config, opts, self.train_for(label, (), OF_CONTROL, config, *opts), ())

    def spnas_rows(self):
        """Yield the rows of SP-NAS."""
        self.run("spnas_start", "train_net.py", SPNAS, *TRAINING)
        start = self.path("spnas_start", "model_final.pth")
        yield Network("SP-NAS: start network", SPNAS, (), start, ("spnas_start",))
        self.run("spnas_serial", "search_net.py", SPNAS, *IN_ONE_PROCESS, "MODEL.WEIGHTS", start)
        spent = ("spnas_start", "spnas_serial")
        yield self.found("SP-NAS: winner of the serial search", spent)
        self.run("spnas_parallel", "search_net.py", SPNAS, *IN_ONE_PROCESS, "SEARCH.METHOD", "spnas_parallel",
                 "SEARCH.SERIAL_OUTPUT", self.path("spnas_serial"), "SEARCH.CHILDREN", self.args.parallel_children,
                 "SEARCH.GENERATIONS", 2)
        spent = (*spent, "spnas_parallel")
        winner = self.found("SP-NAS: winner of the parallel search", spent)
        yield winner
        settings = (*winner.opts, "MODEL.WEIGHTS", winner.weights)
        last = self.train_for("spnas_winner", spent, OF_METHOD, SPNAS, *settings)
        yield self.trained("SP-NAS: winner, trained on", SPNAS, winner.opts, last, spent)

    def found(self, name, spent):
        search = spent[-1]
        opts = ("MODEL.SPNAS.CODE", self.best(search))
        return Network(name, SPNAS, opts, self.path(search, "best.pth"), spent)

    def trained(self, name, config, opts, step, spent):
        return Network(name, config, opts, self.path(step, "model_final.pth"), (*spent, step))

    def from_random_weights(self, winners):
        """Yield rows of the winners, trained from random weights for the whole time."""
        for winner in winners:
            label, config = ("detnas_random" if winner.config == DETNAS else "spnas_random"), winner.config
            step = self.train_for(label, (), OF_CONTROL, config, *winner.opts)
            method, _, _ = winner.name.partition(":")
            yield self.trained(f"{method}: winner from random weights", config, winner.opts, step, ())

    def networks(self):
        """All rows of this seed."""
        rows = [*self.detnas_rows(), *self.plain_rows(), *self.spnas_rows()]
        if self.args.from_random_weights:
            rows += self.from_random_weights([rows[-1], rows[1]])
        return rows


def test(args, network):
    """What the tables say of a network: costs of its backbone at 224x224, AP on val, AP and AP50 on test."""
    opts = [*network.opts, *IN_ONE_PROCESS]
    cfg = load_config(os.path.join(ROOT, network.config), opts)
    space, costs = config_space(cfg), backbone_costs(cfg)
    name = cfg.MODEL.SPNAS.CODE if network.config == SPNAS else space.format(space.parse(cfg.MODEL.DETNAS.ARCH))
    val, fresh = (box_results(network.config, opts, network.weights, images) for images in (None, args.test))
    return {"network": name, "flops": costs["flops"] / 1e6, "params": costs["params"] / 1e6,
            "val": val["AP"], "test": fresh["AP"], "test50": fresh["AP50"]}


def result_table(rows):
    """The table of ``rows``: name of a network -> one dict per seed from :func:`test`, with "seconds"."""
    def cell(found, form, *keys):
        return ", ".join(dict.fromkeys(form.format(*(row[key] for key in keys)) for row in found))

    lines = [
        [name, cell(found, "{}", "network"), cell(found, "{:.0f}", "flops"), cell(found, "{:.2f}", "params"),
         ", ".join(f"{row['val']:.1f}" for row in found),
         ", ".join(f"{row['test']:.1f} ({row['test50']:.1f})" for row in found),
         f"{statistics.mean(row['test'] for row in found):.1f}", ", ".join(f"{row['seconds']:.0f}" for row in found)]
        for name, found in rows.items()
    ]
    headers = ["network", "arch or code", "multiply-adds (M)", "parameters (M)", "AP on val", "AP (AP50) on test",
               "mean AP on test", "CPU seconds"]
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def main(args):
    with user_errors():
        seeds = {seed: Seed(args, seed) for seed in args.seeds}
        try:
            with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
                found = dict(zip(seeds, pool.map(Seed.networks, seeds.values())))
        except StepFailed as e:
            raise SystemExit(f"error: {e}") from None
    rows, taken = {}, {}
    for seed, networks in found.items():
        for network in networks:
            seconds = seeds[seed].seconds(*network.steps)
            rows.setdefault(network.name, []).append({**test(args, network), "seconds": seconds})
            for step in network.steps:
                # Without the try's number.
                taken.setdefault(re.sub(r"_\d$", "", step), {})[seed] = seeds[seed].seconds(step)
    print(f"\n{result_table(rows)}\n")
    lines = [[step, *(f"{by_seed[seed]:.0f}" if seed in by_seed else "" for seed in seeds)]
             for step, by_seed in taken.items()]
    print(tabulate(lines, ["CPU seconds of", *(f"seed {seed}" for seed in seeds)], tablefmt="github",
                   disable_numparse=True))
    return rows


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="CPU seconds of each method and control in all")
    parser.add_argument("--supernet-iterations", type=int, default=2200, metavar="N", help="of DetNAS's supernet")
    parser.add_argument("--parallel-children", type=int, default=3, metavar="N", help="of the parallel search")
    parser.add_argument("--from-random-weights", action="store_true", help="train the winners from random weights, too")
    parser.add_argument("--test", default=TEST_IMAGES, help="images that nothing was chosen by")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2, help="seeds at once, a thread each")
    parser.add_argument("--output", default="output/compare_methods")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
