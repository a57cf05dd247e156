"""
Tables and pictures from search logs.

    python -m detnas.report FOLDER [FOLDER ...] --out curves.png    best so far of several searches over each other
"""

import argparse
import json
import os
import sys

import matplotlib
from detectron2.utils.file_io import PathManager
from tabulate import tabulate

from detnas.config import OWN_SPACE
from detnas.search.log import SearchLog
from detnas.space import SearchSpace, get_space

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  after the backend is chosen


def metrics_table(metrics, logged=None):
    """All metrics of a path as text, beside the values of the log where there are any."""
    headers = ["metric", "value"] + (["logged"] if logged else [])
    rows = [[name, value] + ([logged.get(name)] if logged else []) for name, value in metrics.items()]
    return tabulate(rows, headers, floatfmt=".6f")


def plot_search(log, file):
    """Draw every candidate's score, the mean of each generation and the best so far (paper, Fig. 2) into a file."""
    candidates = [c for c in log.history() if c.score is not None]
    fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    best, best_so_far = float("-inf"), []
    for candidate in candidates:
        best = max(best, candidate.score)
        best_so_far.append(best)
    numbers = range(1, len(candidates) + 1)
    ax.scatter(numbers, [c.score for c in candidates], s=14, color="#7f9cc0", label="candidate")
    ax.step(numbers, best_so_far, where="post", color="#c0392b", label="best so far")
    start = 1
    for generation in sorted({c.generation for c in candidates}):
        scores = [c.score for c in candidates if c.generation == generation]
        mean = sum(scores) / len(scores)
        label = "mean of a generation" if start == 1 else None
        ax.plot([start, start + len(scores) - 1], [mean, mean], color="#2c3e50", linewidth=2, label=label)
        start += len(scores)
    ax.set(xlabel="candidates", ylabel=log.header.get("metric", "score"), title=f'Search in space "{log.space.name}"')
    ax.legend(loc="best")
    with PathManager.open(file, "wb") as f:
        fig.savefig(f, dpi=120, format="png")
    plt.close(fig)


def read_log(folder):
    """
    The log of a search, with the space that its header names; also while the search runs.

    Raises:
        FileNotFoundError, ValueError: if there is none, or it is damaged.
    """
    path = os.path.join(folder, "search.jsonl")
    if not PathManager.isfile(path):
        raise FileNotFoundError(f"{path} does not exist; search_net.py writes it")
    with PathManager.open(path) as f:
        line = f.readline()
    try:
        header = json.loads(line)
        own = header.get("own_space")
        name = header["space"]
    except (json.JSONDecodeError, KeyError, AttributeError):
        raise ValueError(f"{path} is damaged: its first line is no header") from None
    if name == OWN_SPACE:
        return SearchLog(folder, SearchSpace(**{k: tuple(v) if isinstance(v, list) else v for k, v in own.items()}))
    return SearchLog(folder, get_space(name))


def best_so_far(log):
    """The best score after each candidate, None before the first one."""
    best, curve = None, []
    for candidate in log.history():
        if candidate.score is not None and (best is None or candidate.score > best):
            best = candidate.score
        curve.append(best)
    return curve


def plot_searches(logs, file):
    """
    Draw the best score so far of several searches over each other into a file. Searches that differ in nothing but the
    seed have one colour.

    Args:
        logs: label -> :class:`detnas.search.log.SearchLog`.
        file: of PathManager.
    """
    fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    colours, styles = {}, ["-", "--", ":", "-."]
    seen = {}
    for label, log in logs.items():
        kind = json.dumps({k: v for k, v in log.header.items() if k not in ("seed", "versions")}, sort_keys=True)
        colour = colours.setdefault(kind, f"C{len(colours)}")
        style = styles[seen.setdefault(kind, 0) % len(styles)]
        seen[kind] += 1
        curve = [float("nan") if best is None else best for best in best_so_far(log)]
        ax.step(range(1, len(curve) + 1), curve, style, where="post", color=colour, label=label)
    metrics = sorted({str(log.header.get("metric", "score")) for log in logs.values()})
    ax.set(xlabel="candidates", ylabel=f"best {' / '.join(metrics)} so far")
    ax.legend(loc="lower right")
    with PathManager.open(file, "wb") as f:
        fig.savefig(f, dpi=120, format="png")
    plt.close(fig)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="with a search.jsonl")
    parser.add_argument("--out", required=True, metavar="FILE", help="picture to write, a PNG")
    args = parser.parse_args(argv)
    try:
        logs = {os.path.basename(os.path.normpath(folder)): read_log(folder) for folder in args.folders}
    except (FileNotFoundError, ValueError, KeyError) as e:
        sys.exit(f"error: {e}")
    plot_searches(logs, args.out)
    rows = [[label, len(log.history()), log.best()[0].score if log.best() else None] for label, log in logs.items()]
    print(tabulate(rows, ["search", "candidates", "best"], floatfmt=".2f"))


if __name__ == "__main__":
    main()
