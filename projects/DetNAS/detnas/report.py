"""Tables and pictures from a search log."""

import matplotlib
from detectron2.utils.file_io import PathManager
from tabulate import tabulate

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
