"""The search itself."""

import dataclasses
import logging
import time

logger = logging.getLogger(__name__)


def run_search(searcher, executor, log, generations, costs=lambda path: {}, on_best=lambda candidate: None):
    """
    Propose, evaluate, log, generation by generation. What the log holds already is not evaluated again, so an
    interrupted search continues where it stopped.

    Args:
        searcher: gives the paths of a generation, see :class:`detnas.search.evolution.Searcher`.
        executor: paths -> iterator of finished candidates.
        log: a :class:`detnas.search.log.SearchLog`.
        generations: how many.
        costs: path -> dict of its costs, kept in the log.
        on_best: called with a candidate that is the best so far.
    """
    progress = Progress(searcher.population * generations, log)
    for candidate in log.best():
        # A search that was killed may have logged its best candidate and not said so yet.
        on_best(candidate)
    for generation in range(generations):
        paths = searcher.propose(log.history(), generation)
        if not paths:
            logger.warning(f"No new path meets the constraints: the search ends before generation {generation + 1}.")
            break
        best = log.best()
        for candidate in executor([path for path in paths if path not in log]):
            candidate = dataclasses.replace(candidate, generation=generation, costs=costs(candidate.path))
            log.append(candidate)
            if log.best() != best:
                best = log.best()
                on_best(candidate)
            progress.report(candidate, generation, generations)
        scores = [c.score for c in log.history() if c.generation == generation and c.score is not None]
        if scores:
            logger.info(
                f"Generation {generation + 1}/{generations}: mean {sum(scores) / len(scores):.2f}, "
                f"best of it {max(scores):.2f}, best so far {log.best()[0].score:.2f}"
            )


class Progress:
    """One line per candidate: where the search stands and when it will end."""

    def __init__(self, total, log):
        self.total, self.log = total, log
        self.before, self.start = len(log.history()), time.perf_counter()
        if self.before:
            logger.info(f"{log.path} holds {self.before} candidates; the search continues.")

    def report(self, candidate, generation, generations):
        done = len(self.log.history())
        remaining = (time.perf_counter() - self.start) / (done - self.before) * (self.total - done)
        minutes, seconds = divmod(round(max(remaining, 0)), 60)
        best = self.log.best()
        score = "failed" if candidate.score is None else f"{candidate.score:.2f}"
        logger.info(
            f"generation {generation + 1}/{generations}  candidate {done}/{self.total}  "
            f"{self.log.space.format(candidate.path)}  {score}"
            + (f" (best {best[0].score:.2f})" if best else "")
            + f"  {candidate.seconds:.1f} s  eta {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        )
