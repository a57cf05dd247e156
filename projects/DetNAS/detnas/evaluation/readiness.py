"""Tells whether a supernet's ranking of paths has settled: how alike its last two evaluations rank the same paths."""

import os

from detnas.launch.outputs import read_metrics

#: keys in metrics.json of the mean and of the rank agreement
MEAN, AGREEMENT = "supernet/mean", "supernet/agreement"
#: agreement below which a search warns
LOW = 0.6


def kendall_tau(a, b):
    """Return Kendall's tau-b of two equally long lists of numbers: 1 for the same order, NaN if one has no order."""
    from scipy.stats import kendalltau  # takes as long to import as everything else here

    return float(kendalltau(a, b).statistic)


def read_evaluations(folder):
    """Return the evaluations of fixed paths in a folder's ``metrics.json``, as dicts in file order."""
    return [line for line in read_metrics(folder) if MEAN in line]


def readiness_warning(weights):
    """Return a search's warning if the last ranking beside ``weights`` was unsettled or not measured, else None."""
    folder = os.path.dirname(weights)
    last = (read_evaluations(folder) or [{}])[-1]
    agreement = last.get(AGREEMENT)
    if agreement is None:
        return (
            f"whether the supernet's ranking of paths had settled was not measured (no {AGREEMENT} in "
            f"{os.path.join(folder, 'metrics.json')}): train it with TEST.EVAL_PERIOD (docs/training.md)"
        )
    if agreement >= LOW:
        return None
    paths = {name.split("/")[0] for name in last if name.startswith(("all_", "random_"))}
    return (
        f"the supernet's ranking of {len(paths)} fixed paths agreed by {agreement:.2f} (tau) with the evaluation "
        "before: it was still changing; train longer (docs/training.md)"
    )
