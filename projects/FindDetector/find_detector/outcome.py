"""What a run leaves at its end: results beside each other, drawings, and a page that says what lies where."""

import os

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from detectron2.data.detection_utils import read_image
from PIL import Image
from tabulate import tabulate

from detnas.files import write_text
from detnas.launch.outputs import BEST_CONFIG, read_arch, read_metrics
from detnas.search.winner import FRONT

from .configs import BASE
from .data import look
from .measure import limited_costs, measured_limits
from .plan import PLAIN, RACE, SHEET_IMAGES, duration
from .race import MARGIN, read_race
from .run import Run

SHEET, PAGE = "sheet.png", "README.md"
#: images in a row of the sheet, and the sides of the square of each, in pixels
_ROW, _SIDE = 4, 480
#: Two trainings of one network easily differ by so much AP (docs/results.md).
_EQUAL = 1.0
#: A comparison is fair if the plain network had at least this share of the winner's time.
_SAME_TIME = 0.8


def finish(run: Run) -> str:
    """Report, draw, export and sum up, for a run whose steps are done; returns the text of the page."""
    writer, plan, drawn = run.writer, run.plan, os.path.join(run.folder, "drawn")
    scores = {step: test_scores(writer.output(step)) for step in ("winner", PLAIN) if step in plan.steps}
    best = max(scores, key=lambda step: scores[step].get("AP") or 0.0)
    if plan.search:
        run.once("report", *run.command("search"), "--report")
    files = sheet_images(look(plan.sets.test).files)
    inputs = [word for file in files for word in ("--input", file)]
    script = os.path.join(run.root, "demo", "predict.py")
    run.once("drawings", script, "--config-file", writer.path(best), *inputs, "--output", drawn)
    # A drawing that failed costs nothing else.
    there = [os.path.join(drawn, os.path.basename(file) + end) for file in files for end in ("", ".png")]
    write_sheet(list(filter(os.path.isfile, there)), os.path.join(run.folder, SHEET))
    try:
        for form in plan.request.format:
            script = os.path.join(run.root, "tools", "export_model.py")
            run.once(form, script, "--config-file", writer.path(best), "--format", form)
    finally:
        # A file that is in doubt ends with an error; the rest is there all the same.
        text = page(run, scores, best)
        write_text(os.path.join(run.folder, PAGE), text + "\n")
    return text


def test_scores(folder: str) -> dict:
    """{"AP": ..., "AP50": ...} on the test images at the end of a training; {} if it has none."""
    lines = [line for line in read_metrics(folder) if "bbox/AP" in line]
    return {name: lines[-1].get(f"bbox/{name}") for name in ("AP", "AP50")} if lines else {}


def sheet_images(files: list, count: int = SHEET_IMAGES) -> list:
    """At most so many files, spread evenly over all, no two with the same name."""
    named = list({os.path.basename(file): file for file in files}.values())
    count = min(count, len(named))
    return [named[i * len(named) // count] for i in range(count)]


def write_sheet(files: list, output: str) -> None:
    """Write one picture of several, in rows; each keeps its shape."""
    if not files:
        return
    row = min(_ROW, len(files))
    sheet = Image.new("RGB", (row * _SIDE, -(-len(files) // row) * _SIDE), "white")
    for number, file in enumerate(files):
        image = Image.fromarray(read_image(file, "RGB"))
        image.thumbnail((_SIDE - 8, _SIDE - 8))
        sheet.paste(image, (number % row * _SIDE + 4, number // row * _SIDE + 4))
    sheet.save(output)


def page(run: Run, scores: dict, best: str) -> str:
    """The page at the end: {step: scores on the test images} as a table, and what lies where."""
    plan, writer, found = run.plan, run.writer, run.writer.output("search")
    searched = sum(run.seconds.get(step, 0.0) for step in ("supernet", "search", "winner"))
    seconds = {"winner": searched, PLAIN: sum(run.seconds.get(step, 0.0) for step in (RACE, PLAIN))}
    starts, rows = {start.name: start for start in plan.starts}, []
    for step, score in scores.items():
        what, arch = "winner of the search", os.path.join(found, BEST_CONFIG)
        if step == PLAIN:
            what, arch = f"plain network: {starts[run.best].about}", starts[run.best].arch
        costs = {}
        if plan.request.limit or plan.search and arch:
            limits = measured_limits(writer, writer.path(step))
            costs = limited_costs(limits, read_arch(arch, limits.space))
        rows.append({"detector": what, "AP on the test images": score.get("AP"), "AP50": score.get("AP50"), **costs,
                     "time of all its steps": duration(seconds[step]), "config": writer.path(step),
                     "weights": os.path.join(writer.output(step), "model_final.pth")})
    files = {
        "settings that steps share": os.path.join(run.folder, BASE.format(plan.space)),
        "everything of the search": os.path.join(found, "report.html"),
        "several networks that it found, ready to use": os.path.join(found, FRONT),
        "test images with boxes drawn": os.path.join(run.folder, SHEET),
        "output of the commands": os.path.join(run.folder, "log"),
        "exported files": os.path.join(writer.output(best), "export"),
    }
    return "\n".join([
        f"# A detector for {plan.request.train}", "",
        verdict(plan, scores, seconds), f"It took {duration(run.spent)} of {duration(plan.budget)}.", "",
        _table(rows), "", *_race_lines(run, starts),
        *([f"Latency of detectors as ONNX files: {plan.latency}", ""] if plan.latency else []),
        _table([{"what": what, "where": where} for what, where in files.items() if os.path.exists(where)]), "",
        "What it finds in images of yours:", "",
        f"    python demo/predict.py --config-file {writer.path(best)} --input FOLDER --output DRAWN", "",
        "The commands that made it:", "", *(f"    python {step['command']}" for step in run.steps.done.values()),
    ])


def _race_lines(run, starts):
    """The race of the starts as lines of the page; none where there was one start alone."""
    rows = [{"start": starts[name].about, "licence of the weights": starts[name].licence,
             "iterations": entry["iterations"], "AP": ", ".join(f"{ap:.1f}" for ap in entry["found"]),
             "expected": entry["expected"]}
            for name, entry in read_race(run.writer.output(RACE)).get("entries", {}).items()]
    if not rows:
        return []
    return [f"How the start was chosen: {duration(run.seconds.get(RACE, 0.0))} of training, compared on "
            f"{run.plan.images.holdout} training images held out, by the AP to expect at the end, if every doubling of "
            "the time adds as much as the last one. That is a rough guess: random weights win over pre-trained ones "
            f"only with {MARGIN:g} times as much. The best went on from where it was, with all training images.", "",
            _table(rows), ""]


def _table(rows):
    return tabulate(rows, headers="keys", tablefmt="github", floatfmt=".1f")


def verdict(plan, scores: dict, seconds: dict) -> str:
    """Whether the search paid, in a sentence: by {step: scores} and the seconds of the winner and the plain network."""
    if "winner" not in scores:
        return f"A plain network was trained for the whole time, without a search: {plan.why}."
    winner, plain = (scores.get(step, {}).get("AP") for step in ("winner", PLAIN))
    if winner is None or plain is None:
        return "The winner of the search was not compared with a plain network."
    gain, less_time = winner - plain, seconds[PLAIN] < _SAME_TIME * seconds["winner"]
    by = f"its winner is {abs(gain):.1f} AP {'better' if gain > 0 else 'worse'} than the plain network"
    if gain > 0 and less_time:
        said = f"Whether the search paid is open: {by}, which was trained for less time"
    elif abs(gain) < _EQUAL:
        said = f"The search made no difference: {by}, and seeds differ by more"
    else:
        said = f"The search {'paid' if gain > 0 else 'did not pay'}: {by}"
    took = {step: duration(time) for step, time in seconds.items()}
    return f"{said} (the winner took {took['winner']} in all, the plain network {took[PLAIN]})."
