"""Where candidates are evaluated. An executor takes paths and yields finished candidates, in any order."""

import logging
import time

from .log import Candidate


def run_here(evaluate, metric):
    """
    Executor in this process, one path after the other.

    Args:
        evaluate: path -> dict of metrics.
        metric: name of the one that is the score. One that could not be computed (nothing was detected) counts 0.
    """

    def execute(paths):
        for path in paths:
            start = time.perf_counter()
            try:
                metrics = evaluate(path)
                result = {"metrics": metrics, "score": score_of(metrics, metric)}
            except Exception as e:
                logging.getLogger(__name__).exception("A candidate failed:")
                result = {"error": f"{type(e).__name__}: {e}"}
            yield Candidate(path, seconds=round(time.perf_counter() - start, 3), **result)

    return execute


def score_of(metrics, metric):
    """
    Raises:
        KeyError: if the evaluator does not report the metric.
    """
    if metric not in metrics:
        raise KeyError(f'SEARCH.METRIC "{metric}" is not reported; there are: {", ".join(metrics)}')
    return metrics[metric] or 0.0
