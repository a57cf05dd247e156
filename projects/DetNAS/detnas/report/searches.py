"""Computes what a report shows of logs: labels, groups of seeds, curves."""

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
    """A label for each folder: the shortest end of its path that no other folder has."""
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
    """Searches that differ only in the seed and the versions: label -> log."""

    label: str
    logs: Dict[str, SearchLog]


def metric_name(log):
    return str(log.header.get("metric", "score"))


def group_searches(logs):
    """Group {label: log} by search: list of :class:`Group`, in the order of their first logs."""
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
    """{number of a candidate, from 1: best score so far}, from the first candidate with a score on."""
    scores = (-math.inf if candidate.score is None else candidate.score for candidate in log.history())
    best = enumerate(itertools.accumulate(scores, max), 1)
    return {number: score for number, score in best if score > -math.inf}


def generation_means(log):
    """{generation, from 1: mean score}, without generations in which all candidates failed."""
    scores = {}
    for candidate in log.history():
        if candidate.score is not None:
            scores.setdefault(candidate.generation + 1, []).append(candidate.score)
    return {generation: sum(values) / len(values) for generation, values in sorted(scores.items())}


def top_so_far(log, count):
    """{generation, from 1: the best ``count`` candidates so far, or fewer}, from the first one with a score on."""
    ranked = log.best(None)
    found = {g: [c for c in ranked if c.generation <= g] for g in sorted({c.generation for c in log.history()})}
    return {generation + 1: best[:count] for generation, best in found.items() if best}


def top_means(log, count):
    """{generation, from 1: mean score of the best ``count`` candidates so far} (paper, Fig. 2)."""
    return {generation: fmean(c.score for c in best) for generation, best in top_so_far(log, count).items()}


def top_count(logs):
    """How many candidates :func:`top_so_far` takes: the smallest population of the searches, by default 50 (paper)."""
    populations = (log.header.get("population", PAPER_POPULATION) for log in logs.values())
    return max(1, min(populations, default=PAPER_POPULATION))


def band(curves):
    """List of (x, low, mean, high) of curves {x: y} at each x in all non-empty ones; elsewhere the mean would jump."""
    curves = [curve for curve in curves if curve]
    shared = sorted(set.intersection(*map(set, curves))) if curves else []
    columns = [(x, [curve[x] for curve in curves]) for x in shared]
    return [(x, min(ys), sum(ys) / len(ys), max(ys)) for x, ys in columns]


def shown_costs(log):
    """Names of a log's costs: the objectives first, then backbone_flops, then the others."""
    names = dict.fromkeys(name for c in log.history() for name in c.costs)
    first = [*log.header.get("objectives", ()), "backbone_flops"]
    return list(dict.fromkeys([name for name in first if name in names] + list(names)))
