"""What a report shows of one log and of several: labels, groups of seeds, curves."""

import itertools
import json
import math
import os
from dataclasses import dataclass
from statistics import fmean
from typing import Dict

from detnas.search.log import VERSIONS, SearchLog

#: candidates of a generation in the paper
PAPER_POPULATION = 50


def search_labels(folders):
    """A short name for each folder: the end of its path, as much of it as tells it from the others."""
    paths = {folder: folder if "://" in folder else os.path.abspath(folder) for folder in folders}
    parts = {folder: path.rstrip("/").split("/") for folder, path in paths.items()}
    labels = {}
    for folder, own in parts.items():
        others = [other for other in parts.values() if other != own]
        told = (n for n in range(1, len(own)) if all(other[-n:] != own[-n:] for other in others))
        labels[folder] = "/".join(own[-next(told, len(own)) :])
    return labels


@dataclass(frozen=True)
class Group:
    """Searches that differ in nothing but the seed, and the versions: label -> log."""

    label: str
    logs: Dict[str, SearchLog]


def metric_name(log):
    """What the scores of a log are."""
    return str(log.header.get("metric", "score"))


def group_searches(logs):
    """Seeds of the same search together: {label: log} -> list of :class:`Group`, in the order of their first logs."""
    kinds = {}
    for label, log in logs.items():
        kind = json.dumps({k: v for k, v in log.header.items() if k not in ("seed", VERSIONS)}, sort_keys=True)
        kinds.setdefault(kind, {})[label] = log
    groups = [Group(_common_label(list(members)), members) for members in kinds.values()]
    taken = [group.label for group in groups]
    return [g if taken.count(g.label) == 1 else Group(", ".join(g.logs), g.logs) for g in groups]


def _common_label(labels):
    if len(labels) == 1:
        return labels[0]
    return os.path.commonprefix(labels).rstrip("0123456789").rstrip("_-. /") or ", ".join(labels)


def best_so_far(log):
    """The best score after each candidate, by its number from 1; nothing before the first one with a score."""
    scores = (-math.inf if candidate.score is None else candidate.score for candidate in log.history())
    best = enumerate(itertools.accumulate(scores, max), 1)
    return {number: score for number, score in best if score > -math.inf}


def generation_means(log):
    """The mean score of each generation, by its number from 1; without those in which everything failed."""
    scores = {}
    for candidate in log.history():
        if candidate.score is not None:
            scores.setdefault(candidate.generation + 1, []).append(candidate.score)
    return {generation: sum(values) / len(values) for generation, values in sorted(scores.items())}


def top_so_far(log, count):
    """
    The best ``count`` candidates found up to each generation, best first, by its number from 1; fewer where there are
    fewer, and no generation before the first candidate with a score.
    """
    ranked = log.best(None)
    found = {g: [c for c in ranked if c.generation <= g] for g in sorted({c.generation for c in log.history()})}
    return {generation + 1: best[:count] for generation, best in found.items() if best}


def top_means(log, count):
    """The mean score of the best ``count`` candidates found up to each generation (paper, Fig. 2), by its number."""
    return {generation: fmean(c.score for c in best) for generation, best in top_so_far(log, count).items()}


def top_count(logs):
    """How many the top so far are: as many as a generation has, 50 in the paper; the fewest of several searches."""
    return min((log.header.get("population", PAPER_POPULATION) for log in logs.values()), default=PAPER_POPULATION)


def band(curves):
    """
    List of (x, low, mean, high) of several curves, dicts x -> y, where all of them have a value: a mean of other seeds
    at every place would jump where one ends. Empty ones, of searches that have found nothing yet, do not count.
    """
    curves = [curve for curve in curves if curve]
    shared = sorted(set.intersection(*map(set, curves))) if curves else []
    columns = [(x, [curve[x] for curve in curves]) for x in shared]
    return [(x, min(ys), sum(ys) / len(ys), max(ys)) for x, ys in columns]


def shown_costs(log):
    """Names of the costs that a report can draw: the objectives first, then backbone_flops, then the others."""
    names = dict.fromkeys(name for c in log.history() for name in c.costs)
    first = [*log.header.get("objectives", ()), "backbone_flops"]
    return list(dict.fromkeys([name for name in first if name in names] + list(names)))
