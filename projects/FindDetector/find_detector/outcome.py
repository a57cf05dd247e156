"""Writes what a run leaves at its end: a picture, and a page that compares the detectors and recommends one."""

import os
import re
import shutil

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from tabulate import tabulate

from detnas.config.constraint import Constraint
from detnas.cost.limits import DETECTOR_LATENCY
from detnas.errors import UserError
from detnas.files import NUMBER, read_json, write_text
from detnas.report.style import figure, search_colour

from .detectors import DETECTORS_FILE, FOLDER, SHEET
from .plan import FAMILY, MANY_IMAGES, PLAIN, RACE, duration
from .race import MARGIN, read_race
from .run import Run

PICTURE, PAGE, PICKED = "family.png", "README.md", "picked"
#: what is read of DETECTORS_FILE
FORM = {"engine": str, "recommended": str, "images": int, "threads": int, "versions": {"": str}, "machine": str,
        "detectors": [{"name": str, "kind": str, "ms": NUMBER, "ms95": NUMBER, "AP": NUMBER, "AP50": NUMBER,
                       "bytes": int, "interval": [NUMBER], "equal_to_best": bool, "engines": {"": [NUMBER]}}]}


def finish(run: Run) -> str:
    """Write picture and page of a run whose steps are done; returns the text of the page."""
    found = read_json(run.writer.path(DETECTORS_FILE), form=FORM)
    draw(found, run.writer.path(PICTURE))
    text = page(run, found)
    write_text(run.writer.path(PAGE), text + "\n")
    return text


def full_name(limit: str) -> str:
    """A limit such as "latency_ms <= 20" with the cost's name in a search."""
    return re.sub(r"\blatency_ms\b", DETECTOR_LATENCY, limit)


def pick(folder: str, limit: str) -> str:
    """
    Copy the best detector within ``limit``, "best" or such as "latency_ms <= 20", to ``folder``/picked, and return a
    sentence about it. UserError if the run has not ended or no detector is within the limit; it names the nearest.
    """
    found = read_json(os.path.join(folder, DETECTORS_FILE), {}, FORM)
    named = [row for row in found.get("detectors", ()) if os.path.basename(row["name"]) == row["name"]]
    if not named:
        raise UserError(f"--pick: {folder} holds no finished run: start it without --pick")
    rows = named
    if limit != "best":
        within = Constraint.parse(full_name(limit))
        if within.metric != DETECTOR_LATENCY:
            raise UserError(f'--pick {limit}: it is "best", or a limit such as "latency_ms <= 20"')
        rows = [row for row in named if within.allows(row["ms"])]
        if not rows:
            nearest = min(named, key=lambda row: within.excess(row["ms"]))
            raise UserError(f"--pick {limit}: no detector is within it; the nearest, {nearest['name']}, takes "
                            f"{nearest['ms']:.1f} ms")
    best = max(rows, key=lambda row: row["AP"])
    picked = os.path.join(folder, PICKED)
    shutil.copytree(os.path.join(folder, FOLDER, best["name"]), picked, dirs_exist_ok=True)
    about = f"{best['name']}, AP {best['AP']:.1f} and {best['ms']:.1f} ms in {found['engine']}"
    return f"{about}: {picked} has its config, weights, ONNX file, and detect.py, which runs it"


def draw(found: dict, file: str) -> None:
    """Plot AP on the test images, with intervals, over milliseconds for the family and the plain detector."""
    with figure([file]) as (_, ax):
        labels = {FAMILY: "the family", PLAIN: "a plain detector at other sizes"}
        for number, (kind, label) in enumerate(labels.items()):
            rows = sorted((row for row in found["detectors"] if row["kind"] == kind), key=lambda row: row["ms"])
            aps = [row["AP"] for row in rows]
            low, high = ([abs(row["interval"][side] - row["AP"]) for row in rows] for side in (0, 1))
            ax.errorbar([row["ms"] for row in rows], aps, [low, high], marker="o", markersize=4, capsize=2,
                        linewidth=1.2, color=search_colour(number), label=label)
        ax.set_xlabel(f"milliseconds an image, {found['engine']}, {found['threads']} thread(s) of this machine")
        ax.set_ylabel(f"AP on {found['images']} test images")
        ax.legend(loc="lower right")


def page(run: Run, found: dict) -> str:
    """The page in Markdown: the recommended detector, a table of all, and where everything lies."""
    plan, writer = run.plan, run.writer
    rows = sorted(found["detectors"], key=lambda row: row["ms"])
    best, taken = max(rows, key=lambda row: row["AP"]), next(row for row in rows if row["name"] == found["recommended"])
    why = "the best one" if taken is best else (
        f"the fastest of those that cannot be told from the best, {best['name']} with {best['AP']:.1f} AP, by these "
        "test images")
    few = [f"{found['images']} test images are few: intervals are wide.", ""] if found["images"] < MANY_IMAGES else []
    engines = list(rows[0]["engines"])
    classes = [name for name in taken if name.startswith("AP-")]
    folder = writer.path(FOLDER, taken["name"])
    return "\n".join([
        f"# Detectors for {plan.request.data}", "", f"![AP over milliseconds]({PICTURE})", "",
        f"**Take {taken['name']}:** AP {taken['AP']:.1f} (AP50 {taken['AP50']:.1f}), {taken['ms']:.1f} ms an image in "
        f"{found['engine']}; {why}.", "", f"    python {os.path.join(folder, 'detect.py')} IMAGE", "", *few,
        _table([{
            "detector": row["name"], "AP": row["AP"], "90% of it": "{:.1f} to {:.1f}".format(*row["interval"]),
            "equal to the best": "yes" if row["equal_to_best"] else "", "AP50": row["AP50"],
            **{name: row.get(name) for name in classes}, "ms": row["ms"], "95% within": row["ms95"],
            "MB": row["bytes"] / 1e6} for row in rows]), "",
        "family_...: from the one training; plain_...: the control, a plain detector at other sizes, trained as long. "
        "Names have the size in pixels and the number of proposals, and a number where several have both. AP is "
        f"COCO's, of the ONNX file in {found['engine']}; intervals hold 90% of the APs on test images drawn again and "
        "again.", "",
        f"Milliseconds an image, {found['threads']} thread(s), {found['machine']}:", "",
        _table([{"detector": row["name"], **{found["versions"][name]: row["engines"][name][0] for name in engines}}
                for row in rows]), "",
        *_race_lines(run),
        f"It took {duration(run.spent)} of {duration(plan.budget)}.", "",
        _table([{"what": what, "where": where} for what, where in {
            "the detectors: config, weights, ONNX file and detect.py of each": writer.path(FOLDER),
            "configs of the steps, as for train_net.py": writer.path("*.yaml"),
            "output of the commands": writer.path("log")}.items()]), "",
        f"![what {taken['name']} finds in test images]({SHEET})", "",
        "The best within a limit, without training: `--pick \"latency_ms <= 20\"`.", "",
        "The commands that made it:", "", *(f"    python {step['command']}" for step in run.steps.done.values()),
    ])


def _race_lines(run):
    """Lines about the race for the page; none if there was only one start."""
    starts = {start.name: start for start in run.plan.starts}
    rows = [{"start": starts[name].about, "licence of the weights": starts[name].licence,
             "iterations": entry["iterations"], "AP": ", ".join(f"{ap:.1f}" for ap in entry["found"]),
             "expected": entry["expected"]}
            for name, entry in read_race(run.writer.path(RACE)).get("entries", {}).items()]
    if not rows:
        return []
    return [f"How the start was chosen: {duration(run.seconds.get(RACE, 0.0))} of training, compared on "
            f"{run.plan.images.holdout} training images held out, by the AP to expect at the end, if every doubling of "
            "the time adds as much as the last one. That is a rough guess: random weights win over pre-trained ones "
            f"only with {MARGIN:g} times as much.", "", _table(rows), ""]


def _table(rows):
    return tabulate(rows, headers="keys", tablefmt="github", floatfmt=".1f")
