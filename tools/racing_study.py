#!/usr/bin/env python
"""
What does racing save, and what does it lose? Searches are replayed on what the paths of a supernet were seen to detect
(tools/keep_matches.py), each with and without a race, by what search_net.py does:

    python tools/racing_study.py --config-file CONFIG --kept FOLDER      200 searches of each kind; minutes

Prints a table: how often the best path is the same, what its score loses where it is not, and images spent.
"""

import argparse
import dataclasses
import glob
import json
import os
import random
import statistics
import tempfile

import detnas  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import numpy as np
from keep_matches import HELD_OUT, TEST, read
from tabulate import tabulate
from tqdm import tqdm

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.cost.limits import Limits
from detnas.data.datasets import register_dataset
from detnas.errors import UserError, user_errors
from detnas.evaluation.evaluators import only_warnings
from detnas.evaluation.matches import BoxMatches
from detnas.files import read_json, write_text
from detnas.search.executor import LOOKS, LocalExecutor
from detnas.search.log import SearchLog
from detnas.search.loop import run_search
from detnas.search.paths import initial_paths
from detnas.search.raced_evaluator import build_race
from detnas.search.racing import bootstrap_weights, look, part_sizes
from detnas.search.searchers import build_searcher

#: (share, sigmas): halving alone, the paired test alone, and both
RULES = ["0.33,0", "0.5,0", "1,1", "1,1.5", "1,2", "0.5,1.5", "0.7,1.5"]
#: as many ways to divide the images into parts; a search has that of its seed
DIVISIONS = 8


class Kept:
    """
    Scores and looks of all paths of a folder, which are written beside it once.

    Args:
        folder: of tools/keep_matches.py.
        parts: SEARCH.RACING_PARTS.
    """

    def __init__(self, folder, parts):
        self.scores, self.looks = {}, {}
        if not glob.glob(os.path.join(folder, "*.npz")):
            raise UserError(f"{folder} has no paths; tools/keep_matches.py makes them, see docs/racing.md")
        for file in tqdm(sorted(glob.glob(os.path.join(folder, "*.npz"))), unit="path"):
            arch = os.path.basename(file)[: -len(".npz")]
            known = read_json(file + ".json", {})
            if "scores" not in known:
                known["scores"] = [float(read(file, kind).average_precision()) for kind in (HELD_OUT, TEST)]
                known["images"] = len(read(file, HELD_OUT).objects)
            self.images = known["images"]
            missing = [size for size in part_sizes(self.images, parts)[:-1] if str(size) not in known]
            if missing:
                matches = read(file, HELD_OUT)
                known.update({size: [look_at(matches, size, n) for n in range(DIVISIONS)] for size in missing})
                write_text(file + ".json", json.dumps(known))
                known = read_json(file + ".json")
            by_part = [known[str(size)] for size in part_sizes(self.images, parts)[:-1]]
            self.scores[arch], self.looks[arch] = known["scores"], list(zip(*by_part))


def look_at(matches, size, division):
    """A look at so many images, which a division of the images puts first."""
    order = list(range(len(matches.objects)))
    random.Random(f"race {division}").shuffle(order)
    part = only(matches, sorted(order[:size]))
    return look(size, part.average_precision(bootstrap_weights(size, division)))


def only(matches, images):
    """The matches on some of the images."""
    number = np.full(len(matches.objects), -1)
    number[images] = range(len(images))
    there = number[matches.image] >= 0
    columns = {name: values[there] for name, values in vars(matches).items() if name not in ("objects", "image")}
    return BoxMatches(objects=matches.objects[images], image=number[matches.image[there]], **columns)


class Evaluator:
    """What the evaluator of a search would say, and how many images it would have seen."""

    def __init__(self, kept, space, recalibration, race=None, division=0):
        self.kept, self.space, self.recalibration = kept, space, recalibration
        self.race, self.division, self.spent = race, division, 0

    def __call__(self, path, parents=(), to_beat=()):
        arch = self.space.format(path)
        self.spent += self.recalibration
        looks = self.kept.looks[arch][self.division] if self.race else ()
        for number, (mine, bar) in enumerate(zip(looks, to_beat), 1):
            if self.race.is_hopeless(mine, bar, self.kept.images):
                self.spent += mine["images"]
                return {LOOKS: looks[:number]}
        self.spent += self.kept.images
        return {"score": self.kept.scores[arch][0], **({LOOKS: looks} if looks else {})}


class LogInMemory(SearchLog):
    """A log that is asked for nothing later."""

    def append(self, candidate):
        self._add(candidate)


def replay(searcher, limits, evaluator, generations, race=None):
    """The log of a search, and the images that it took."""
    with tempfile.TemporaryDirectory() as folder:
        log = LogInMemory(folder, limits.space, {"space": limits.space.name})
        with only_warnings("detnas"):
            run_search(searcher, LocalExecutor(evaluator, "score"), log, generations, limits.costs, race=race)
        log.close()
    return log, evaluator.spent


def compare(kept, cfg, races, seeds):
    """A row for each race: how its searches end beside those without one."""
    space = config_space(cfg)
    limits = Limits(cfg, space)
    searcher = build_searcher(cfg, limits, initial_paths(cfg, limits))
    recalibration, generations = cfg.SEARCH.RECALIBRATION_IMAGES, cfg.SEARCH.GENERATIONS

    def run(seed, race=None):
        evaluator = Evaluator(kept, space, recalibration, race, seed % DIVISIONS)
        log, spent = replay(dataclasses.replace(searcher, seed=seed), limits, evaluator, generations, race)
        return space.format(log.best()[0].path), spent

    plain = {seed: run(seed) for seed in seeds}
    for (share, sigmas), race in races.items():
        raced = {seed: run(seed, race) for seed in seeds}
        pairs = [(*raced[seed], *plain[seed]) for seed in seeds]
        lost = [kept.scores[b][0] - kept.scores[a][0] for a, _, b, _ in pairs]
        lost_on_test = [kept.scores[b][1] - kept.scores[a][1] for a, _, b, _ in pairs]
        yield {
            "share": share,
            "sigmas": sigmas,
            "same best": f"{statistics.mean(a == b for a, _, b, _ in pairs):.1%}",
            "or within 0.1": f"{statistics.mean(x <= 0.1 for x in lost):.1%}",
            "loss, mean": statistics.mean(lost),
            "largest": max(lost),
            "loss on test, mean": statistics.mean(lost_on_test),
            "images": f"{statistics.mean(spent / full for _, spent, _, full in pairs):.3f}",
        }


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CONFIG", help="of the supernet")
    parser.add_argument("--kept", required=True, metavar="FOLDER", help="of tools/keep_matches.py")
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="searches of each kind")
    both = "SEARCH.RACING_SHARE and SEARCH.RACING_SIGMAS, such as 0.5,1.5"
    parser.add_argument("--rules", nargs="+", default=RULES, metavar="SHARE,SIGMAS", help=both)
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    return parser


def main(args):
    with user_errors():
        cfg = load_config(args.config_file, args.opts)
        cfg.merge_from_list(["SEARCH.RACING", "True"])
        for name in cfg.DATASETS.TEST:
            register_dataset(name)
        race = build_race(cfg)
        rules = [tuple(map(float, rule.split(","))) for rule in args.rules]
        kept = Kept(args.kept, race.parts)
    races = {rule: dataclasses.replace(race, share=rule[0], sigmas=rule[1]) for rule in rules}
    rows = list(compare(kept, cfg, races, range(args.seeds)))
    print(tabulate(rows, headers="keys", tablefmt="github", floatfmt=".3f"))
    return rows


if __name__ == "__main__":
    main(parser().parse_args())
