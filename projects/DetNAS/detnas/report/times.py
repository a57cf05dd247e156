"""What each step has cost, as the paper's Table 4: iterations or candidates, seconds, devices."""

import os

from detectron2.utils.file_io import PathManager
from tabulate import tabulate

from detnas.errors import UserError
from detnas.search.log import read_log

from .runs import read_run
from .searches import search_labels

UNKNOWN = "unknown"
HEADERS = ("folder", "step", "done", "seconds", "devices", "device hours")


def times_table(folders):
    """
    Markdown: a row for each training and each search in these output folders, also where one folder has both, and the
    sum of their device hours if all are known. What the runs have not recorded is "unknown".

    Raises:
        UserError: naming the folder, and what it lacks.
    """
    steps = [(label, *step) for folder, label in search_labels(folders).items() for step in _steps(folder)]
    rows = [[*step[:3], _or_unknown(step[3], ".0f"), step[4], _or_unknown(step[5], ".2f")] for step in steps]
    hours = [step[5] for step in steps]
    if len(steps) > 1 and None not in hours:
        rows.append(["all", "", "", "", "", f"{sum(hours):.2f}"])
    return tabulate(rows, HEADERS, tablefmt="github", disable_numparse=True)


def _or_unknown(value, form):
    return UNKNOWN if value is None else format(value, form)


def _steps(folder):
    """(step, what was done, seconds, devices, device hours) of the training and of the search in a folder."""
    holds = {name: PathManager.isfile(os.path.join(folder, name)) for name in ("config.yaml", "search.jsonl")}
    if not any(holds.values()):
        raise UserError(f"{folder} holds no config.yaml of train_net.py and no search.jsonl of search_net.py")
    return ([_training(read_run(folder))] if holds["config.yaml"] else []) + (
        [_search(read_log(folder))] if holds["search.jsonl"] else []
    )


def _training(run):
    step = f"{'supernet' if run.is_supernet else 'network'} {'as classifier' if run.is_classifier else 'on detection'}"
    done = max((line["iteration"] + 1 for line in run.lines if "total_loss" in line), default=0)
    whole = run.cfg.SOLVER.MAX_ITER
    amount = f"{done} of {whole} iterations" if done < whole else _plural(whole, "iteration")
    seconds, processes = training_seconds(run.lines), _processes(run)
    kind = "GPU" if run.cfg.MODEL.DEVICE.startswith("cuda") else "CPU process"
    devices = UNKNOWN if processes is None else _plural(processes, kind)
    hours = None if None in (seconds, processes) else seconds * processes / 3600
    return step, amount, seconds, devices, hours


def training_seconds(lines):
    """
    Seconds of the iterations in metrics.json, without evaluations and checkpoints; None if there are no times. A line
    has the median of the last 20 iterations, so that a pause of the machine does not count.

    Args:
        lines: of :class:`detnas.report.runs.Run`.
    """
    timed = [line for line in lines if "time" in line]
    before = [-1, *(line["iteration"] for line in timed)]
    return sum(line["time"] * (line["iteration"] - last) for line, last in zip(timed, before)) if timed else None


def _processes(run):
    """How many processes trained in the end, one a GPU where there are any; None if nothing says it."""
    solver = run.cfg.SOLVER
    if solver.REFERENCE_WORLD_SIZE:
        # The config of a run is fitted to its processes, and a process that takes n parts of a batch counts as n.
        return solver.REFERENCE_WORLD_SIZE // solver.ACCUMULATE
    # Each process has a log: log.txt, log.txt.rank1, ...
    logs = [name for name in PathManager.ls(run.folder) if name.startswith("log.txt")]
    return len(logs) or None


def _search(log):
    history = log.history()
    seconds = sum(candidate.seconds for candidate in history)
    workers = {candidate.worker for candidate in history if candidate.worker}
    devices = _plural(len(workers), "worker") if workers else UNKNOWN
    # A candidate takes one worker.
    return "search", _plural(len(history), "candidate"), seconds, devices, seconds / 3600


def _plural(number, word):
    ending = "" if number == 1 else "es" if word.endswith("s") else "s"
    return f"{number} {word}{ending}"
