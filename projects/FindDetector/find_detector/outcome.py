"""What a run leaves at its end: results beside each other, drawings, and a page that says what lies where."""

import glob
import os

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from detectron2.data.detection_utils import read_image
from PIL import Image
from tabulate import tabulate

from detnas.files import write_text
from detnas.launch.earlier_steps import BEST_CONFIG, read_arch, read_metrics
from detnas.search.log import SearchLog
from detnas.search.winner import FRONT

from .facts import look
from .limits import limited_costs, run_limits
from .plan import SHEET_IMAGES
from .words import duration

SHEET, PAGE = "sheet.png", "README.md"
#: images in a row of the sheet, and the sides of the square of each, in pixels
_ROW, _SIDE = 4, 480
#: AP by which two trainings of one network differ easily (docs/results.md), and the share of the winner's time that the
#: plain network must have had for a fair comparison
_EQUAL, _SAME_TIME = 1.0, 0.8


def test_scores(folder):
    """{"AP": ..., "AP50": ...} on the test images at the end of a training; {} if it has none."""
    lines = [line for line in read_metrics(folder) if "bbox/AP" in line]
    return {name: lines[-1].get(f"bbox/{name}") for name in ("AP", "AP50")} if lines else {}


def finish(run):
    """
    Draw, report and sum up; what is done already is not done again.

    Args:
        run: a :class:`find_detector.run.Run` whose steps are done.

    Returns:
        the text of the page.
    """
    writer = run.writer
    scores = {step: test_scores(writer.output(step)) for step in ("winner", "plain") if step in run.plan.steps}
    best = max(scores, key=lambda step: scores[step].get("AP") or 0.0)
    if run.plan.search:
        run.steps("report", *run.command("search"), "--report")
    drawn = os.path.join(run.folder, "drawn")
    files = sheet_images(look(run.plan.parts["test"]).files)
    inputs = [word for file in files for word in ("--input", file)]
    script = os.path.join(run.root, "demo", "predict.py")
    run.steps("drawings", script, "--config-file", writer.path(best), *inputs, "--output", drawn)
    write_sheet([os.path.join(drawn, os.path.basename(file)) for file in files], os.path.join(run.folder, SHEET))
    try:
        for form in run.plan.arguments["format"]:
            script = os.path.join(run.root, "tools", "export_model.py")
            run.steps(form, script, "--config-file", writer.path(best), "--format", form)
    finally:
        # A file that is in doubt ends with an error; the rest is there all the same.
        run.clock.tick(force=True)
        text = page(run, scores, best)
        write_text(os.path.join(run.folder, PAGE), text + "\n")
    return text


def sheet_images(files, count=SHEET_IMAGES):
    """At most so many files, spread evenly over them, no two of one name."""
    named = list({os.path.basename(file): file for file in files}.values())
    if len(named) <= count:
        return named
    return [named[i * len(named) // count] for i in range(count)]


def write_sheet(files, output):
    """One picture of several, in rows; each keeps its shape."""
    row = min(_ROW, len(files))
    sheet = Image.new("RGB", (row * _SIDE, -(-len(files) // row) * _SIDE), "white")
    for number, file in enumerate(files):
        image = Image.fromarray(read_image(file, "RGB"))
        image.thumbnail((_SIDE - 8, _SIDE - 8))
        sheet.paste(image, (number % row * _SIDE + 4, number // row * _SIDE + 4))
    sheet.save(output)


def page(run, scores, best):
    """The page at the end, as text."""
    plan, clock, writer = run.plan, run.clock, run.writer
    searched = sum(clock.steps.get(step, 0.0) for step in ("supernet", "search", "winner"))
    seconds = {"winner": searched, "plain": clock.steps.get("plain", 0.0)}
    limits, rows = run_limits(writer, writer.path(best)), []
    for step, score in scores.items():
        what = "winner of the search" if step == "winner" else f"plain network, {plan.plain[0]}"
        arch = os.path.join(writer.output("search"), BEST_CONFIG) if step == "winner" else plan.plain[1]
        costs = limited_costs(limits, read_arch(arch, limits.space))
        weights = os.path.join(writer.output(step), "model_final.pth")
        rows.append([what, score.get("AP"), score.get("AP50"), *costs.values(), duration(seconds[step]),
                     writer.path(step), weights])
    headers = ["detector", "AP on the test images", "AP50", *costs, "time of all its steps", "config", "weights"]
    commands = [f"    python {step['command']}" for step in run.steps.done.values()]
    files = [
        ("settings of all steps", writer.base()),
        ("test images with boxes drawn", os.path.join(run.folder, SHEET)),
        ("output of the commands", os.path.join(run.folder, "log")),
    ]
    if plan.search:
        found = writer.output("search")
        files.insert(1, ("everything of the search", os.path.join(found, "report.html")))
    if plan.arguments["format"]:
        files.append(("exported files", os.path.join(writer.output(best), "export")))
    return "\n".join([
        f"# A detector for {plan.arguments['train']}", "",
        _verdict(plan, scores, best, seconds),
        f"It took {duration(clock.spent)} of {duration(plan.budget)}.", "",
        tabulate(rows, headers, tablefmt="github", floatfmt=".1f"), "",
        *(_front(run, limits) if plan.search else []),
        *([f"Latency of detectors as ONNX files: {plan.latency}", ""] if plan.latency else []),
        tabulate(files, ["what", "where"], tablefmt="github"), "",
        "What it finds in images of yours:", "",
        f"    python demo/predict.py --config-file {writer.path(best)} --input FOLDER --output DRAWN", "",
        "The commands that made it:", "", *commands,
    ])


def _front(run, limits):
    """Lines about the detectors that the search left ready to use, the best score first."""
    folder, rows = run.writer.output("search"), []
    log = SearchLog(folder, limits.space)
    for file in glob.glob(os.path.join(glob.escape(folder), FRONT, "*.yaml")):
        path = read_arch(file, limits.space)
        costs = limited_costs(limits, path)
        rows.append([file, log.get(path).score, *costs.values()])
    if not rows:
        return []
    headers = ["config", "AP on the held-out images", *costs]
    rows.sort(key=lambda row: -row[1])
    return ["Of the search's front, with the supernet's weights, ready to use:", "",
            tabulate(rows, headers, tablefmt="github", floatfmt=".1f"), ""]


def _verdict(plan, scores, best, seconds):
    """Whether the search paid, in a sentence or two."""
    if len(scores) == 2 and None not in (scores["winner"].get("AP"), scores["plain"].get("AP")):
        gain = scores["winner"]["AP"] - scores["plain"]["AP"]
        long = f"the winner took {duration(seconds['winner'])} in all, the plain network {duration(seconds['plain'])}"
        by = f"{abs(gain):.1f} AP {'above' if gain > 0 else 'below'} the plain network"
        if seconds["plain"] < _SAME_TIME * seconds["winner"] and gain > 0:
            return f"Whether the search paid is open: its winner is {by}, which was trained for less time ({long})."
        if abs(gain) < _EQUAL:
            return f"The search made no difference: its winner is {by}, and seeds differ by more ({long})."
        if gain > 0:
            return f"The search paid: its winner is {gain:.1f} AP better than the plain network ({long})."
        return f"The search did not pay: the plain network is {-gain:.1f} AP better than its winner ({long})."
    if best == "winner":
        return "The winner of the search was not compared with a plain network."
    return f"A plain network was trained for the whole time: {plan.why}."
