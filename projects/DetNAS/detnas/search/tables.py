"""What a search has found, as tables and files."""

import csv
import importlib
import io
import os

from iopath.common.file_io import g_pathmgr
from tabulate import tabulate

from detnas.config.constraint import METRICS, Constraint
from detnas.errors import UserError
from detnas.files import write_text

from .pareto import front_of


def candidate_rows(log, candidates):
    """
    One dict per candidate: arch, its name if any of them has one, generation, score, costs, metrics, seconds, worker,
    tries, in a race images and score of each look, parents, error.
    """
    return [
        {
            **names,
            "generation": c.generation,
            "score": c.score,
            **c.costs,
            **c.metrics,
            "seconds": c.seconds,
            "worker": c.worker,
            "tries": c.tries,
            **_looks(c),
            "parents": " ".join(map(log.space.format, c.parents)),
            "error": c.error,
        }
        for c, names in zip(candidates, _names(log, candidates))
    ]


def _looks(candidate):
    """In a race, the number of images and the score there of each look."""
    return {
        name: value
        for number, look in enumerate(candidate.looks, 1)
        for name, value in ((f"images {number}", look["images"]), (f"score {number}", look["score"]))
    }


def _names(log, candidates):
    """Arch and name of each candidate; no names where none has one."""
    known = log.known
    with_names = any(c.network in known for c in candidates)
    return [
        {"arch": log.space.format(c.network), **({"name": known.get(c.network, "")} if with_names else {})}
        for c in candidates
    ]


def candidate_table(log, candidates):
    """
    Candidates as text: arch, name if any of them has one, generation, score, costs (multiply-adds and parameters in
    millions), where a race stopped it, error.
    """
    rows = [
        {
            **names,
            "generation": c.generation + 1,
            log.header.get("metric", "score"): c.score,
            **dict(_in_its_unit(*cost) for cost in c.costs.items()),
            "seconds": c.seconds,
            **({"stopped": f"at {c.stopped['score']:.2f} after {c.stopped['images']} images"} if c.stopped else {}),
            **({"error": c.error} if c.error else {}),
        }
        for c, names in zip(candidates, _names(log, candidates))
    ]
    return tabulate(rows, headers="keys", floatfmt=".2f")


def _in_its_unit(name, value):
    return (f"{name} (M)", value / 1e6) if METRICS.get(name) == "M" else (name, value)


def metrics_table(metrics, logged=None):
    """All metrics of a path as text, beside the values of the log where there are any."""
    headers = ["metric", "value"] + (["logged"] if logged else [])
    rows = [[name, value] + ([logged.get(name)] if logged else []) for name, value in metrics.items()]
    return tabulate(rows, headers, floatfmt=".6f")


def to_beat(log):
    """The scores of the known networks that the first generation began with, in one line; empty without any."""
    named = [(log.known[c.network], c.score) for c in log.best(None) if c.network in log.known]
    return ", ".join(f"{name} {score:.2f}" for name, score in named)


def first_cost(log):
    """
    The name of the first cost that a search limits, or else that its log has, in a list: a front is of it where no cost
    is asked for.
    """
    costs = [name for c in log.history()[:1] for name in c.costs]
    limited = [Constraint.parse(text).metric for text in log.header.get("constraints", [])]
    return [name for name in (*limited, *costs) if name in costs][:1]


def pareto_front(log, costs=()):
    """
    The candidates than which no other one has a better score and lower costs, best score first; without names of costs,
    of the one that :func:`first_cost` says.
    """
    scored = [c for c in log.history() if c.score is not None]
    costs = list(costs) or first_cost(log)
    for name in costs:
        if any(name not in c.costs for c in scored):
            there = ", ".join(scored[0].costs)
            raise UserError(f'{log.path} holds no cost "{name}" of every candidate; there are: {there}')
    return front_of(scored, costs)


def write_csv(log, candidates, file):
    """Everything about the candidates, a line each, into a file of PathManager, whose folder is made."""
    # A table on this machine should not wait for Detectron2, which knows more kinds of paths.
    path_manager = importlib.import_module("detectron2.utils.file_io").PathManager if "://" in file else g_pathmgr
    rows = candidate_rows(log, candidates)
    names = list(dict.fromkeys(name for row in rows for name in row))
    path_manager.mkdirs(os.path.dirname(file) or ".")
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(file, text.getvalue(), path_manager)
