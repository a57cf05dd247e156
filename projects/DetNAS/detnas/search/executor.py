"""
Where candidates are evaluated. An executor takes paths with what their evaluation needs, and gives finished
candidates, in any order.
"""

import logging
import math
import time

from detnas.errors import UnreadableImage, UserError

from .candidate import Candidate, fitness

logger = logging.getLogger(__name__)

#: under which name an evaluator gives what it saw of a candidate in a race
LOOKS = "looks"


class SearchImpossible(UserError):
    """No candidate will ever have a score, and why."""


class LocalExecutor:
    """
    Executor in this process, one path after the other, in the order in which they are submitted. A failure is a
    candidate with an error, not an exception, but for :class:`SearchImpossible`.

    Args:
        evaluate: (path, what else was submitted) -> dict of metrics, see :func:`result_of`.
        metric: name of the one that is the score.
        tries: how often a candidate that fails is tried.
        text: path -> what it is called in the log.
    """

    workers = 1

    def __init__(self, evaluate, metric, tries=1, text=str):
        self.evaluate, self.metric, self.tries, self.text = evaluate, metric, tries, text
        self.waiting = []

    def submit(self, path, *more):
        """``more`` is for the evaluator: the paths it was made from and, in a race, the scores to beat."""
        self.waiting.append((path, *more))

    def next(self):
        """The next finished candidate of those submitted."""
        path, *more = self.waiting.pop(0)
        for number in range(1, self.tries + 1):
            start = time.perf_counter()
            try:
                result = result_of(self.evaluate(path, *more), self.metric)
            except SearchImpossible:
                raise
            except UnreadableImage as e:
                # All candidates need the same images.
                raise SearchImpossible(str(e)) from None
            except Exception as e:
                # The first line is enough in the log of the search; the rest is in the log of the process.
                failed = f"Candidate {self.text(path)} failed, try {number} of {self.tries}: {e}"
                logger.error(failed, exc_info=not isinstance(e, UserError))
                result = {"error": f"{type(e).__name__}: {e}"}
            seconds = round(time.perf_counter() - start, 3)
            if "error" not in result:
                break
        return Candidate(path, seconds=seconds, worker="here", tries=number, **result)

    def evaluator(self):
        """The evaluator, for use in this process."""
        return self.evaluate

    def close(self):
        """There is nothing to stop."""


def result_of(metrics, metric):
    """
    What an evaluator reports as part of a candidate: its "metrics", and its "score" or the "error" why there is none.
    In a race also its "looks", which come among the metrics; a candidate that was stopped has nothing else.

    Raises:
        SearchImpossible: if the evaluator does not report the metric.
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
