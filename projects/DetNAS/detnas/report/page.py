"""The report page: one HTML file that needs nothing else, with the pictures as files beside it."""

import dataclasses
import html
import json
import os
import re
import time
from functools import partial
from importlib import resources

from detectron2.utils.file_io import PathManager

from detnas.errors import UserError
from detnas.search.candidate import by_score
from detnas.search.pareto import front_of
from detnas.space import OP_COLOURS, SearchSpace
from detnas.zoo import PUBLISHED

from .archs import plot_archs, plot_frequencies
from .curves import FIGURES, cost_label, default_cost, front_costs, plot_search
from .descent import descent, has_one_start, plot_descent
from .searches import (band, best_so_far, generation_means, group_searches, metric_name, shown_costs, top_count,
                       top_means, top_so_far)
from .style import SEARCH_COLOURS

#: candidates in the pictures of the best
TOP = 10


def page_data(logs):
    """
    Everything that the page shows, ready for JSON.

    Args:
        logs: label -> :class:`detnas.search.log.SearchLog`.

    Returns:
        dict of lists and numbers; scores and costs as in the logs, flops in multiply-adds, generations from 1.
    """
    groups, count = group_searches(logs), top_count(logs)
    return {
        "searches": [
            _search(label, log, next(i for i, group in enumerate(groups) if label in group.logs), count)
            for label, log in logs.items()
        ],
        "groups": [_group(group, count) for group in groups],
        "topCount": count,
        "published": [
            {"name": name, "space": network.space, "arch": network.arch}
            for name, network in PUBLISHED.items()
            if network.space in {log.space.name for log in logs.values()}
        ],
        "ops": OP_COLOURS,
    }


def _search(label, log, group, count):
    history = log.history()
    number = {c.path: i for i, c in enumerate(history)}
    costs, known = shown_costs(log), log.known
    return {
        "label": label,
        "group": group,
        "metric": metric_name(log),
        "header": log.header,
        **_blocks(log.space),
        "drawings": {log.space.format(c.path): log.space.drawing(c.path) for c in history if _is_drawn(log.space)},
        "setting": " ".join(f'{key} "%s"' for c in history[:1] for key in log.space.settings(c.path)) or "%s",
        "oneStart": has_one_start(log),
        "descent": [number[c.path] for c in descent(log)],
        "events": [{**event, "generation": event["generation"] + 1} for event in log.events()],
        "costs": {name: cost_label(name) for name in costs},
        "jointFront": len(front_costs(log, None)) > 1,
        "fronts": {name: [number[c.path] for c in front_of(history, front_costs(log, name))] for name in costs},
        "best": list(best_so_far(log).items()),
        "means": list(generation_means(log).items()),
        "topMeans": list(top_means(log, count).items()),
        "tops": [(g, [number[c.path] for c in best]) for g, best in top_so_far(log, count).items()],
        "candidates": [
            {
                **{key: value for key, value in dataclasses.asdict(c).items() if key != "looks"},
                "result": c.result,
                "stopped": bool(c.stopped),
                "path": log.space.format(c.path),
                "name": known.get(c.path),
                "generation": c.generation + 1,
                "parents": [log.space.format(parent) for parent in c.parents],
            }
            for c in history
        ],
    }


def _group(group, count):
    logs = group.logs.values() if len(group.logs) > 1 else ()
    return {
        "label": group.label,
        "metric": group.metric,
        "bestBand": band([best_so_far(log) for log in logs]),
        "meansBand": band([generation_means(log) for log in logs]),
        "topMeansBand": band([top_means(log, count) for log in logs]),
    }


def write_page(logs, file):
    """
    Write the report page of one or several searches, finished or not, and its pictures, as PNG and SVG, into a folder
    beside it that has the page's name with ``_figures``.

    Args:
        logs: label -> :class:`detnas.search.log.SearchLog`.
        file: the page, of PathManager.

    Raises:
        UserError: if there is no log, or the file does not end in .html.
    """
    stem, ending = os.path.splitext(file)
    if ending.lower() not in (".html", ".htm"):
        raise UserError(f"{file}: a report page must end in .html")
    if not logs:
        raise UserError("a report needs at least one search")
    folder = f"{stem}_figures"
    PathManager.mkdirs(folder)
    figures = write_figures(logs, folder)
    data = {
        **page_data(logs),
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "figures": {name: f"{os.path.basename(folder)}/{name}" for name in figures},
    }
    title = "Search " + ", ".join(group.label for group in group_searches(logs))
    with PathManager.open(file, "wb") as f:
        f.write(fill_template(title, data).encode())


def write_figures(logs, folder):
    """Write every picture of the page into a folder, as PNG and SVG, and return their names."""
    tops = [(group.label, *_top(group)) for group in group_searches(logs)]
    archs = [
        (f"{log.space.format(path)}  {score:.2f}" if len(tops) == 1 else f"{label}\n{score:.2f}", log.space, path)
        for label, log, best in tops
        for path, score in (best if len(tops) == 1 else best[:3])
    ]
    draw = {name: partial(plot, logs) for name, plot in FIGURES.items()}
    if len(logs) == 1:
        draw["best"] = partial(plot_search, *logs.values())
    if default_cost(logs) is None:
        del draw["cost"]
    ranked = [(label, log.space, [path for path, _ in best]) for label, log, best in tops if best]
    ranked = [group for group in ranked if not _is_drawn(group[1])]
    if archs:
        draw["archs"] = partial(plot_archs, archs)
    if ranked:
        draw["frequencies"] = partial(plot_frequencies, ranked)
    if len(logs) == 1 and descent(*logs.values()):
        draw["descent"] = partial(plot_descent, *logs.values())
    if all(map(has_one_start, logs.values())):
        # Nothing was drawn at random but children.
        del draw["random"]
    for name, write in draw.items():
        write(*(os.path.join(folder, f"{name}.{ending}") for ending in ("png", "svg")))
    return list(draw)


def _is_drawn(space):
    return not isinstance(space, SearchSpace)


def _blocks(space):
    """What is needed to draw a candidate as blocks with ops; nothing of it where it is made of something else."""
    has_blocks = isinstance(space, SearchSpace)
    return {"depths": space.stage_depths if has_blocks else (), "ops": space.ops if has_blocks else ()}


def _top(group):
    """One log of a group, for its space, and the group's best: (path, score), each path once."""
    logs = list(group.logs.values())
    found = sorted((c for log in logs for c in log.best(TOP * len(logs))), key=by_score)
    best = {}
    for candidate in found:
        best.setdefault(candidate.path, candidate.score)
    return logs[0], list(best.items())[:TOP]


def fill_template(title, data):
    """The page's text. Nothing in the data can end its script element or begin a comment there."""
    light, dark = ("".join(f"--s{i}:{pair[k]};" for i, pair in enumerate(SEARCH_COLOURS)) for k in (0, 1))
    parts = {
        "title": html.escape(title),
        "style": _asset("page.css").replace("/*light*/", light).replace("/*dark*/", dark),
        "data": json.dumps(data).replace("<", "\\u003c"),
        "charts": _asset("charts.js"),
        "script": _asset("page.js"),
    }
    # In one pass: words in the data that look like places of the template stay what they are.
    return re.sub(r"{{(\w+)}}", lambda place: parts[place[1]], _asset("page.html"))


def _asset(name):
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
