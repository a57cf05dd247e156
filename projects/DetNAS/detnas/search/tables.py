"""Tables and files of a search's results."""

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
    """One dict per candidate with all its values, for a table; "name" only if some candidate has one."""
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
    """Number of images and score of each look, in a race."""
    return {
        name: value
        for number, look in enumerate(candidate.looks, 1)
        for name, value in ((f"images {number}", look["images"]), (f"score {number}", look["score"]))
    }


def _names(log, candidates):
    """The "arch" and the "name" of each candidate; no "name" if none has one."""
    known = log.known
    with_names = any(c.network in known for c in candidates)
    return [
        {"arch": log.space.format(c.network), **({"name": known.get(c.network, "")} if with_names else {})}
        for c in candidates
    ]


def candidate_table(log, candidates):
    """Candidates as a text table; generations from 1, multiply-adds and parameters in millions."""
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
    """A path's metrics as a text table, beside the logged values if there are any."""
    headers = ["metric", "value"] + (["logged"] if logged else [])
    rows = [[name, value] + ([logged.get(name)] if logged else []) for name, value in metrics.items()]
    return tabulate(rows, headers, floatfmt=".6f")


def to_beat(log):
    """Names and scores of the known networks in the first generation, in one line; empty without any."""
    named = [(log.known[c.network], c.score) for c in log.best(None) if c.network in log.known]
    return ", ".join(f"{name} {score:.2f}" for name, score in named)


def first_cost(log):
    """The default cost of a front, in a list: the first with a limit, else the first in the log."""
    costs = [name for c in log.history()[:1] for name in c.costs]
    limited = [Constraint.parse(text).metric for text in log.header.get("constraints", [])]
    return [name for name in (*limited, *costs) if name in costs][:1]


def pareto_front(log, costs=()):
    """The front of score and ``costs`` (default :func:`first_cost`), best score first; UserError if one is missing."""
    scored = [c for c in log.history() if c.score is not None]
    costs = list(costs) or first_cost(log)
    for name in costs:
        if any(name not in c.costs for c in scored):
            there = ", ".join(scored[0].costs)
            raise UserError(f'{log.path} holds no cost "{name}" of every candidate; there are: {there}')
    return front_of(scored, costs)


def write_csv(log, candidates, file):
    """Write all values of candidates into a csv file of PathManager, a line each; makes the folder."""
    # Detectron2's PathManager knows more kinds of paths, and is slow to import.
    path_manager = importlib.import_module("detectron2.utils.file_io").PathManager if "://" in file else g_pathmgr
    rows = candidate_rows(log, candidates)
    names = list(dict.fromkeys(name for row in rows for name in row))
    path_manager.mkdirs(os.path.dirname(file) or ".")
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(file, text.getvalue(), path_manager)
