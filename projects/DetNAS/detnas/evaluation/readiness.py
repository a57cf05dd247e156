"""Whether a supernet's ranking of paths has settled: how alike its last two evaluations rank the same paths."""

import itertools
import math
import os

from detnas.launch.outputs import read_metrics

#: names of the mean and of the rank agreement in metrics.json, beside the results of each path
MEAN, AGREEMENT = "supernet/mean", "supernet/agreement"
#: agreement below which a search warns
LOW = 0.6


def kendall_tau(a, b):
    """
    Kendall's tau-b of two equally long lists of numbers: 1 for the same order, -1 for the opposite one, about 0 for
    orders that have nothing to do with each other; NaN where there is no order because all numbers are equal. Own code,
    because scipy is installed for studies alone.
    """
    signs = [
        ((x1 > x2) - (x1 < x2), (y1 > y2) - (y1 < y2))
        for (x1, y1), (x2, y2) in itertools.combinations(list(zip(a, b)), 2)
    ]
    # Pairs that are tied in one of the lists count in the other one only.
    untied = math.prod(sum(sign[side] != 0 for sign in signs) for side in (0, 1))
    return sum(x * y for x, y in signs) / math.sqrt(untied) if untied else math.nan


def read_evaluations(folder):
    """The evaluations of a supernet's fixed paths: lines of ``metrics.json`` of a folder, as dicts, in their order."""
    return [line for line in read_metrics(folder) if MEAN in line]


def readiness_warning(weights):
    """
    The warning that a search logs if its supernet's ranking had not settled at the last evaluation in the folder of its
    weights, or if that was not measured; else None.
    """
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
        f"the supernet's ranking of {len(paths)} fixed paths agreed by {agreement:.2f} (tau) with that of the "
        "evaluation before: it was still changing; train longer (docs/training.md)"
    )
