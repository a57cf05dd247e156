"""Writes the report page, one HTML file that needs no other, and its pictures beside it as SVG."""

import base64
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
from detnas.search.log import VERSIONS
from detnas.search.pareto import front_of
from detnas.search.tables import candidate_rows
from detnas.zoo import PUBLISHED

from .archs import descent, named_arch, plot_archs, plot_descent
from .curves import FIGURES, default_cost, front_costs, plot_search
from .searches import group_searches, metric_name, shown_costs
from .style import readable

#: candidates in the pictures of the best
TOP = 10
_SEEDS = " Of several seeds the line is the mean, and the band reaches from the lowest to the highest."
#: what stands under the pictures
CAPTIONS = {
    "best": "The best score so far." + _SEEDS,
    "top": "The mean of the best candidates found up to each generation." + _SEEDS,
    "generations": "The mean of each generation; the last one may be unfinished." + _SEEDS,
    "cost": "A Pareto front holds the candidates that no other one beats in both score and cost.",
    "archs": "A box is a place with its choice: the best of each search, then published networks of its space.",
    "descent": "From the start network to the winner.",
}


def write_page(logs, file):
    """
    Write the report page of searches, {label: log}, finished or not, into a file of PathManager, and its pictures into
    the folder ``<page>_figures`` beside it. UserError if the file is no .html, or without searches.
    """
    stem, ending = os.path.splitext(file)
    if ending.lower() not in (".html", ".htm"):
        raise UserError(f"{file}: a report page must end in .html")
    if not logs:
        raise UserError("a report needs at least one search")
    folder = f"{stem}_figures"
    PathManager.mkdirs(folder)
    parts = {
        "title": html.escape("Search " + ", ".join(group.label for group in group_searches(logs))),
        "summary": html.escape(summary(logs)),
        "figures": "\n".join(_figure(folder, name) for name in write_figures(logs, folder)),
        "candidates": _table(*candidates(logs)),
        "settings": _table(*settings(logs), _differs),
    }
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    # In one pass, so that no text of a log is taken for a place of the template.
    page = re.sub(r"{{(\w+)}}", lambda place: parts[place[1]], template)
    with PathManager.open(file, "wb") as f:
        f.write(page.encode())


def write_figures(logs, folder):
    """Write every picture of the page into a folder, as SVG, and return their names."""
    tops = [(group.label, *_top(group)) for group in group_searches(logs)]
    archs = [
        (f"{space.format(path)}  {score:.2f}" if len(tops) == 1 else f"{label}\n{score:.2f}", space, path)
        for label, space, best in tops
        for path, score in (best if len(tops) == 1 else best[:3])
    ]
    spaces = {space.name for _, space, _ in tops}
    published = [named_arch(name) for name, network in PUBLISHED.items() if network.space in spaces]
    draw = {name: partial(plot, logs) for name, plot in FIGURES.items()}
    if len(logs) == 1:
        draw["best"] = partial(plot_search, *logs.values())
    if default_cost(logs) is None:
        del draw["cost"]
    if archs or published:
        draw["archs"] = partial(plot_archs, archs + published)
    if len(logs) == 1 and descent(*logs.values()):
        draw["descent"] = partial(plot_descent, *logs.values())
    for name, write in draw.items():
        write(os.path.join(folder, f"{name}.svg"))
    return list(draw)


def _top(group):
    """Space of a group and its :data:`TOP` best paths, a list of (path, score)."""
    logs = list(group.logs.values())
    found = sorted((c for log in logs for c in log.best(TOP * len(logs))), key=by_score)
    best = {}
    for candidate in found:
        best.setdefault(candidate.network, candidate.score)
    return logs[0].space, list(best.items())[:TOP]


def summary(logs):
    """One line about all searches."""
    histories = [log.history() for log in logs.values()]
    everything = [c for history in histories for c in history]
    best = [
        f"best {metric_name(log)} of {label} {log.best()[0].score:.2f}" for label, log in logs.items() if log.best()
    ]
    counts = {
        "candidates": len(everything),
        "stopped by the race": sum(bool(c.stopped) for c in everything),
        "failed": sum(c.error is not None for c in everything),
    }
    events = [
        f"before generation {event['generation'] + 1} of {label} {event['event']} of {event['network']}"
        for label, log in logs.items()
        for event in log.events
    ]
    words = [
        *(best or ["no candidate with a score yet"]),
        *(f"{what}: {number}" for what, number in counts.items() if number),
        *events,
        f"{sum(c.seconds for c in everything) / 3600:.2f} hours of evaluation",
    ]
    return f"{'; '.join(words)}. Written {time.strftime('%Y-%m-%d %H:%M')}."


def candidates(logs):
    """The table of all candidates, best first: names of columns that are not empty, and rows of numbers and texts."""
    rows = [
        {
            # These columns come first.
            **dict.fromkeys(["arch", "score"]),
            "front": "yes" if c.network in front else "",
            "search": label,
            **{name: value for name, value in row.items() if name != metric_name(log)},
            "generation": c.generation + 1,
        }
        for label, log in logs.items()
        for front in [_front(log)]
        for c, row in zip(log.history(), candidate_rows(log, log.history()))
    ]
    rows.sort(key=lambda row: (row["score"] is None, -(row["score"] or 0)))
    names = dict.fromkeys(name for row in rows for name, value in row.items() if value not in (None, ""))
    if len(logs) == 1:
        names.pop("search", None)
    return list(names), [[row.get(name) for name in names] for row in rows]


def _front(log):
    """Networks of the Pareto front."""
    return {c.network for cost in shown_costs(log)[:1] for c in front_of(log.history(), front_costs(log, cost))}


def settings(logs):
    """The table of the logs' headers, names and rows, with a column for each group of searches."""
    groups = group_searches(logs)
    headers = [[log.header for log in group.logs.values()] for group in groups]
    keys = dict.fromkeys(key for group in headers for header in group for key in header)
    rows = [[key, *("; ".join(dict.fromkeys(_text(h.get(key, "")) for h in group)) for group in headers)]
            for key in keys]
    return ["setting", *(group.label for group in groups)], rows


def _text(value):
    return value if isinstance(value, str) else json.dumps(value)


def _differs(row):
    return row[0] not in ("seed", VERSIONS) and len(set(row[1:])) > 1


def _figure(folder, name):
    with PathManager.open(os.path.join(folder, f"{name}.svg"), "rb") as f:
        source = base64.b64encode(f.read()).decode()
    image = f'<img alt="{name}" src="data:image/svg+xml;base64,{source}">'
    return f"<figure><div>{image}</div><figcaption>{CAPTIONS[name]}</figcaption></figure>"


def _table(names, rows, marked=lambda row: False):
    """Head and body of a table as HTML. The first cell of a row is its heading."""
    heads = "".join(f'<th scope="col"><button>{html.escape(name)}</button></th>' for name in names)
    lines = (
        f'<tr{" class=marked" if marked(row) else ""}><th scope="row">{html.escape(row[0])}</th>'
        + "".join(map(_cell, row[1:])) + "</tr>"
        for row in rows
    )
    return "\n".join([f"<thead><tr>{heads}</tr></thead>", "<tbody>", *lines, "</tbody>"])


def _cell(value):
    if isinstance(value, (int, float)):
        # The page sorts by the value, and shows few digits.
        short = f"{value:.2f}" if isinstance(value, float) and 1 <= abs(value) < 1e6 else readable(value)
        return f'<td data-value="{value}">{short}</td>'
    return f"<td>{html.escape(value or '')}</td>"
