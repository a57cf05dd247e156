"""The loop of a search: propose, evaluate, log; by generations, or whenever a worker is free."""

import dataclasses
import logging
import math
import time

logger = logging.getLogger(__name__)


def _nothing(*_):
    pass


def run_search(searcher, executor, log, generations, costs=lambda path: {}, on_candidate=_nothing,
               before_generation=_nothing, race=None, seconds=0):
    """
    Propose, evaluate and log, generation by generation. Candidates in the log are not evaluated again, so an
    interrupted search continues where it stopped.

    Args:
        searcher, executor, log: such as ``Searcher``, ``LocalExecutor`` and ``SearchLog`` of this package.
        costs: path -> {name: cost}, kept in the log.
        on_candidate: called after a candidate is logged: (candidate, whether it is the best so far, needed).
            ``needed()`` returns the parents of the paths that are not finished.
        before_generation: called with the number of a generation, from 0, before its paths are proposed.
        race: a :class:`detnas.search.racing.Race`; None evaluates every candidate to the end.
        seconds: of all candidates on each worker, after which none begins, but the first; 0: no limit.
    """
    progress = Progress(sum(map(searcher.size, range(generations))), log, seconds, executor.workers)
    _repeat_best(log, on_candidate)
    for generation in range(generations):
        if progress.is_late():
            break
        before_generation(generation)
        paths = searcher.lineage(log.history(), generation)
        if not paths:
            logger.warning(f"No new path meets the constraints: the search ends before generation {generation + 1}.")
            break
        if len(paths) < searcher.size(generation):
            logger.warning(f"Only {len(paths)} new paths meet the constraints in generation {generation + 1}.")
        # What is measured is measured while no other worker computes.
        for path in paths if executor.workers > 1 else ():
            costs(path)
        for candidate in _evaluate(paths, executor, log, costs, race, progress):
            known = {"generation": generation, "parents": paths[candidate.network], "costs": costs(candidate.network)}
            done = dataclasses.replace(candidate, **known)
            _record(done, log, on_candidate, lambda: set().union(*(p for path, p in paths.items() if path not in log)))
            progress.report(candidate, f"generation {generation + 1}/{generations}")
        progress.end_generation(generation, generations)
    progress.end()


def _evaluate(paths, executor, log, costs, race, progress):
    """
    Submit the paths of {path: parents} that are not in the log, and yield their candidates as they finish. The caller
    logs each one before it takes the next. In a race, a path waits for the paths ``race.parents`` or more places before
    it, and competes with these and earlier generations only: the order of finishing does not change the result. With
    a limit of seconds only free workers get a path, and none when they are over.
    """
    room = executor.workers if progress.seconds < math.inf else math.inf
    earlier = [c for c in log.history() if c.network not in paths]
    order, running, number = list(paths), 0, 0
    while running or number < len(order) and not progress.is_late():
        while number < len(order) and running < room and not progress.is_late():
            before = order[: max(0, number + 1 - race.parents)] if race else ()
            if any(path not in log for path in before):
                break
            path = order[number]
            number += 1
            if path not in log:
                more = [race.to_beat([*earlier, *map(log.get, before)], costs(path))] if race else []
                executor.submit(path, paths[path], *more)
                running += 1
        if running:
            yield executor.next()
            running -= 1


def run_asynchronous(searcher, executor, log, total, costs=lambda path: {}, on_candidate=_nothing, race=None,
                     seconds=0):
    """
    Like :func:`run_search`, but without generations, for ``total`` candidates. A free worker gets the next path, made
    from all finished candidates. The result depends on the order in which candidates finish, except with one worker.
    """
    progress = Progress(total, log, seconds, executor.workers)
    if executor.workers > 1:
        logger.info("Asynchronous, on several workers: the result depends on the order in which candidates finish.")
    _repeat_best(log, on_candidate)
    flying = {}  # path -> (number of its proposal, its parents)
    number = len(log)
    while True:
        while number < total and len(flying) < executor.workers and not progress.is_late():
            proposal = searcher.propose_one(log.best(None), number, lambda path: path in flying or path in log)
            if proposal is None:
                break  # a running candidate may become a parent
            flying[proposal[0]] = number, proposal[1]
            executor.submit(*proposal, *([race.to_beat(log.history(), costs(proposal[0]))] if race else []))
            number += 1
        if not flying:
            if number < total and not progress.is_late():
                logger.warning(f"No new path meets the constraints: the search ends after {number} candidates.")
            break
        candidate = executor.next()
        proposed, parents = flying.pop(candidate.network)
        known = {"generation": searcher.generation_of(proposed), "parents": parents, "costs": costs(candidate.network)}
        done = dataclasses.replace(candidate, **known)
        _record(done, log, on_candidate, lambda: set().union(*(parents for _, parents in flying.values())))
        progress.report(candidate, f"{len(flying)} running")
    progress.end()


def _repeat_best(log, on_candidate):
    for candidate in log.best():  # a killed search may have logged it without the call
        on_candidate(candidate, True, lambda: {c.network for c in log.history()})


def _record(candidate, log, on_candidate, needed):
    log.append(candidate)
    on_candidate(candidate, log.best() == [candidate], needed)


class Progress:
    """Logs a line per candidate: the state of the search and the time that remains."""

    def __init__(self, total, log, seconds, workers):
        self.total, self.log, self.seconds = total, log, seconds or math.inf
        self.before, self.start = len(log), time.perf_counter()
        self.earlier = sum(c.seconds for c in log.history()) / workers + sum(e.get("seconds", 0) for e in log.events)
        if self.before:
            logger.info(f"{log.path} holds {self.before} candidates; the search continues.")

    def is_late(self):
        """Whether the seconds are over, and there is a candidate."""
        return len(self.log) > 0 and self.earlier + time.perf_counter() - self.start >= self.seconds

    def report(self, candidate, where):
        done, took = len(self.log), time.perf_counter() - self.start
        remaining = took / (done - self.before) * (self.total - done)
        minutes, seconds = divmod(round(max(remaining, 0)), 60)
        best, failed = self.log.best(), self.log.failures
        logger.info(
            f"{where}  candidate {done}/{self.total}  {self.log.space.format(candidate.network)}  {candidate.result}"
            + (f" (best {best[0].score:.2f})" if best else "")
            + f"  {candidate.seconds:.1f} s  eta {minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
            + (f"  {len(failed)} failed" if failed else "")
        )

    def end_generation(self, generation, generations):
        candidates = [c for c in self.log.history() if c.generation == generation]
        scores = [c.score for c in candidates if c.score is not None]
        if scores:
            seconds = sum(c.seconds for c in candidates) / len(candidates)
            stopped = sum(bool(c.stopped) for c in candidates)
            logger.info(
                f"Generation {generation + 1}/{generations}: mean {sum(scores) / len(scores):.2f}, "
                f"best of it {max(scores):.2f}, best so far {self.log.best()[0].score:.2f}, "
                f"{seconds:.1f} s per candidate"
                + (f", {stopped} of {len(candidates)} stopped" if stopped else "")
            )

    def end(self):
        """Warn of an early end, and of the candidates that failed in every try."""
        if self.is_late() and len(self.log) < self.total:
            done = f"{len(self.log)} of {self.total} candidates"
            logger.warning(f"SEARCH.SECONDS {self.seconds:g} are over, after {done}.")
        failed = self.log.failures
        if failed:
            archs = "; ".join(f"{self.log.space.format(c.network)} ({c.tries} tries): {c.error}" for c in failed)
            logger.warning(f"{len(failed)} candidates failed and have no score: {archs}")
