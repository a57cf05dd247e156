"""Evaluates candidates: an executor takes paths and returns finished candidates, in any order."""

import logging
import math
import time

from detnas.errors import UnreadableImage, UserError

from .candidate import Candidate, fitness

logger = logging.getLogger(__name__)

#: key of a candidate's looks among its metrics, in a race
LOOKS = "looks"


class SearchImpossible(UserError):
    """No candidate can ever have a score; the message says why."""


class LocalExecutor:
    """
    Evaluates in this process, in the order of submission. A failure gives a candidate with an error; only
    :class:`SearchImpossible` is raised.

    Args:
        evaluate: (path, what else was submitted) -> dict of metrics, see :func:`result_of`.
        metric: name of the metric that is the score, see :func:`detnas.search.candidate.fitness`.
        text: path -> its name in messages.
    """

    workers = 1

    def __init__(self, evaluate, metric, tries=1, text=str):
        self.evaluate, self.metric, self.tries, self.text = evaluate, metric, tries, text
        self.evaluator = lambda: evaluate
        self.waiting = []

    def submit(self, path, *more):
        """Queue a path. ``more`` goes to the evaluator: the parents and, in a race, the scores to beat."""
        self.waiting.append((path, *more))

    def next(self):
        """The next finished candidate; SearchImpossible for an unreadable image or a metric that is not reported."""
        path, *more = self.waiting.pop(0)
        for number in range(1, self.tries + 1):
            start = time.perf_counter()
            try:
                result = result_of(self.evaluate(path, *more), self.metric)
            except SearchImpossible:
                raise
            except UnreadableImage as e:
                raise SearchImpossible(str(e)) from None  # all candidates need the same images
            except Exception as e:
                # The search's log gets the message; the log of the process also gets the traceback.
                failed = f"Candidate {self.text(path)} failed, try {number} of {self.tries}: {e}"
                logger.error(failed, exc_info=not isinstance(e, (UserError, FloatingPointError)))
                result = {"error": f"{type(e).__name__}: {e}"}
            seconds = round(time.perf_counter() - start, 3)
            if "error" not in result:
                break
        return Candidate(path, seconds=seconds, worker="here", tries=number, **result)

    def close(self):
        """Nothing to stop."""


def result_of(metrics, metric):
    """
    The fields of a candidate from an evaluator's metrics: "metrics" with "score" or "error", in a race also "looks". A
    stopped candidate has only "looks". SearchImpossible if the evaluator does not report ``metric``.
    """
    metrics = dict(metrics)
    looks = {"looks": tuple(metrics.pop(LOOKS))} if LOOKS in metrics else {}
    if looks and not metrics:
        return looks
    metrics = {name: value if value is not None and math.isfinite(value) else None for name, value in metrics.items()}
    if metric.removeprefix("-") not in metrics:
        raise SearchImpossible(f'SEARCH.METRIC "{metric}" is not reported; there are: {", ".join(metrics)}')
    score = fitness(metrics, metric)
    if score is None:
        return {"metrics": metrics, "error": f"{metric} is not a finite number"}
    return {"metrics": metrics, "score": score, **looks}
