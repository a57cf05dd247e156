#!/usr/bin/env python
"""
Which searcher finds the best network with the fewest images? Replays searches on networks with known scores: paths of
two trained supernets (in experiments/arena.json), and networks trained alone (ground_truth.py).

    python experiments/arena.py                50 searches by each searcher; minutes

A searcher sees scores on held-out images. What counts is the test score of its best path so far, for the images spent.
Prints two tables per kind of data, by test and held-out images. Scores and figures go to experiments/arena.json, the
picture to experiments/arena.png. Figures of other searchers stay there if --seeds stays the same.
"""

import argparse
import json
import logging
import os
import tempfile
from dataclasses import dataclass, replace

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import numpy as np
from scipy.stats import kendalltau
from shared import GROUND_TRUTH, read_networks
from tabulate import tabulate
from tqdm import tqdm

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.errors import user_errors
from detnas.files import read_json, write_text
from detnas.report.style import SEARCH_COLOURS, figure, search_colour
from detnas.search.candidate import by_score
from detnas.search.evolution import Searcher
from detnas.search.executor import LocalExecutor
from detnas.search.log import SearchLog
from detnas.search.loop import run_search
from detnas.search.settings import supernet_limits
from detnas.search.surrogate import SurrogateSearcher
from detnas.space import SearchSpace

#: has the space of all networks
CONFIG = os.path.join("configs", "demo", "outlines_2_train_supernet.yaml")
#: paths of the outlines' supernet within CONFIG's limits; no network of one op is among the best there
LIMITED = "outlines, 20M"
#: networks trained alone, and images of each: 800 iterations of 8, and the test
ALONE, IMAGES_ALONE = "alone", 800 * 8 + 500
#: suffix of searchers that race
RACED = ", raced"
#: baseline of the comparison
USUAL = "evolution"


@dataclass(frozen=True)
class Arena:
    """
    Networks with known scores. ``scores``: path -> (score that a searcher sees, test score); no other path is legal. A
    candidate costs ``images``. Searches have the demo's settings, but last longer.
    """

    space: SearchSpace
    scores: dict
    images: int
    population: int = 16
    parents: int = 5
    generations: int = 12

    def settings(self, seed):
        """Arguments of every searcher."""
        initial = tuple(path for path in self.space.anchors().values() if path in self.scores)
        return {"space": self.space, "is_legal": self.scores.__contains__, "population": self.population, "seed": seed,
                "initial": initial}

    @property
    def checkpoints(self):
        """Numbers of candidates at which searchers are compared."""
        return [self.population * n for n in (1, 2, 4, 8) if n <= self.generations]

    @property
    def winner(self):
        """The path that a search should find."""
        return min(self.scores, key=lambda path: (-self.scores[path][0], path))


def evolution(arena, seed):
    half = arena.population // 2
    return Searcher(**arena.settings(seed), num_parents=arena.parents, num_mutate=half, num_cross=half)


def random_search(arena, seed):
    return Searcher(**arena.settings(seed), num_mutate=0, num_cross=0)


def surrogate(arena, seed):
    half = arena.population // 2
    return SurrogateSearcher(**arena.settings(seed), num_parents=arena.parents, num_mutate=half, num_cross=half)


#: name -> function of an arena and a seed
SEARCHERS = {"random": random_search, USUAL: evolution, "surrogate": surrogate}


class LogInMemory(SearchLog):
    """A log that writes no candidates to its file."""

    def append(self, candidate):
        self._add(candidate)


def replay(arena, searcher):
    """
    Run a search of all generations. Returns a dict of arrays (candidates,): "held out" and "test" score of the best
    path so far, and whether it is the arena's "winner". Where paths run out, the last values repeat.
    """
    executor = LocalExecutor(lambda path, parents: {"score": arena.scores[path][0]}, "score")
    with tempfile.TemporaryDirectory() as folder:
        log = LogInMemory(folder, arena.space, {"space": arena.space.name})
        run_search(searcher, executor, log, arena.generations)
        log.close()
    best, lines = None, []
    for candidate in log.history():
        best = min((c for c in (best, candidate) if c), key=by_score)
        lines.append((*arena.scores[best.network], best.network == arena.winner))
    lines += lines[-1:] * (arena.population * arena.generations - len(lines))
    return dict(zip(("held out", "test", "winner"), np.transpose(lines)))


def interval(differences, draws=10_000):
    """95% bootstrap interval of a mean."""
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (draws, len(differences))).mean(1)
    return np.quantile(means, (0.025, 0.975))


def compare(arena, runs):
    """
    Searcher -> dict for JSON, from ``runs``, searcher -> results of :func:`replay`, one per seed. "curve": images, mean
    held-out and mean test score at every fourth candidate. "winner": number of candidates -> share of searches that had
    found it. "held out", "test": number of candidates -> mean, deviation over seeds, gain over evolution, and both ends
    of the gain's interval.
    """
    curves = {name: {key: np.array([run[key] for run in of]) for key in of[0]} for name, of in runs.items()}
    rows = {}
    for name, of in curves.items():
        means = [np.round(of[key].mean(0)[3::4], 2).tolist() for key in ("held out", "test")]
        means.insert(0, [arena.images * 4 * (n + 1) for n in range(len(means[0]))])
        rows[name] = {"curve": means, "held out": {}, "test": {}, "winner": {}}
        for count in arena.checkpoints:
            rows[name]["winner"][str(count)] = round(float(of["winner"][:, count - 1].mean()), 3)
            for key in ("held out", "test"):
                scores, usual = of[key][:, count - 1], curves[USUAL][key][:, count - 1]
                figures = scores.mean(), scores.std(ddof=1), (scores - usual).mean(), *interval(scores - usual)
                rows[name][key][str(count)] = [round(float(figure), 3) for figure in figures]
    return rows


def table(rows, key):
    """Rows of :func:`compare` as a table, by "held out" or "test"."""
    counts, lines = list(rows[USUAL]["winner"]), []
    for name, row in rows.items():
        cells = []
        for count in counts:
            mean, deviation, *gain = row[key][count]
            # All have the same first generation.
            compared = name != USUAL and count != counts[0]
            cells.append(f"{mean:.2f} ± {deviation:.2f}"
                         + ("; {:+.2f} [{:+.2f}, {:+.2f}]".format(*gain) if compared else ""))
        lines.append([name, *cells, ", ".join(f"{100 * row['winner'][count]:.0f}" for count in counts)])
    return tabulate(lines, ["searcher", *counts, "winner found, %"], tablefmt="github", disable_numparse=True)


def draw(file, searches):
    """Plot the best path's mean test score over the images spent, one part per kind of data."""
    with figure([file], 10, 6.4, nrows=-(-len(searches) // 2), ncols=2, squeeze=False) as (fig, axes):
        for ax, (data, rows) in zip(axes.flat, searches.items()):
            names = [name for name in rows if not name.endswith(RACED)]
            for name, row in rows.items():
                # Without a race the first generation is the same for all.
                first = int(next(iter(row["winner"]))) // 4 - 1
                images, _, test = (part[first:] for part in row["curve"])
                number = names.index(name.removesuffix(RACED))
                # There may be more searchers than colours.
                line = "--" if name not in names else "-" if number < len(SEARCH_COLOURS) else ":"
                ax.plot(np.array(images) / 1000, test, line, color=search_colour(number), label=name)
            ax.set(title=data, xlabel="images, thousands", ylabel="AP on test, best so far")
        fig.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)


def build_arenas(args, supernets):
    """name -> :class:`Arena`."""
    cfg = load_config(args.config_file)
    space = config_space(cfg)
    truth = {space.parse(n["arch"]): (n["scores"]["0"], n["scores"]["1"]) for n in read_networks(args.table)}
    arenas = {}
    for data, found in supernets.items():
        scores = {space.parse(arch): tuple(pair) for arch, pair in found["scores"].items()}
        arenas[data] = Arena(space, scores, found["images"])
    limits, paths = supernet_limits(cfg), arenas["outlines"]
    within = {path: pair for path, pair in paths.scores.items() if limits(path)}
    arenas[LIMITED] = replace(paths, scores=within)
    # Only 60 networks are known.
    arenas[ALONE] = Arena(space, truth, IMAGES_ALONE, population=8, parents=3, generations=7)
    return arenas


def main(args, searchers=SEARCHERS):
    with user_errors():
        before, searches = read_json(args.results), {}
        supernets = before["supernets"]
        arenas = build_arenas(args, supernets)
    # These small spaces run out, so no warnings.
    logging.getLogger("detnas.search.loop").setLevel(logging.ERROR)
    for data, arena in arenas.items():
        runs = {}
        for name, build in searchers.items():
            seeds = tqdm(range(args.seeds), desc=f"{data}, {name}")
            runs[name] = [replay(arena, build(arena, seed)) for seed in seeds]
        same = before.get("seeds") == args.seeds
        searches[data] = {**(before["searches"][data] if same else {}), **compare(arena, runs)}
        tau = kendalltau(*zip(*arena.scores.values()))[0]
        print(f"\n{data}: {len(arena.scores)} networks, {args.seeds} searches by each searcher; Kendall's tau between "
              f"held out and test {tau:.2f}")
        for key in ("test", "held out"):
            print(f"\n{key}\n\n{table(searches[data], key)}")
    results = {"seeds": args.seeds, "searches": searches, "supernets": supernets}
    write_text(args.results, json.dumps(results, separators=(",", ":")))
    draw(args.picture, searches)


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default=CONFIG, metavar="CONFIG", help="has the space of all networks")
    parser.add_argument("--table", default=GROUND_TRUTH, metavar="FILE")
    parser.add_argument("--results", default=os.path.join("experiments", "arena.json"), metavar="FILE")
    parser.add_argument("--picture", default=os.path.join("experiments", "arena.png"), metavar="FILE")
    parser.add_argument("--seeds", type=int, default=50, metavar="N", help="searches by each searcher")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
