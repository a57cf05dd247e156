#!/usr/bin/env python
"""
Cost of the search itself, with 1 to 1000 workers that only pretend to evaluate:

    python benchmarks/scale.py [--candidates 10000]

Workers live on a simulated clock, which also counts the search's real time between two calls. Searcher, limits and log
on the disk are real. A second test has Ray with two real workers that sleep.
"""

import collections
import functools
import heapq
import logging
import random
import statistics
import tempfile
import time

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from tables import parser, show, table

from detnas.config.load import load_config
from detnas.cost.costs import all_costs
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog
from detnas.search.loop import run_asynchronous, run_search
from detnas.search.ray_executor import RayExecutor
from detnas.search.settings import build_searcher, supernet_limits

SECONDS, SPREAD, FAILURES = 60.0, 3.0, 0.01


class Simulated:
    """Executor whose evaluations take ``seconds`` on average, the slowest ``spread`` times the fastest."""

    def __init__(self, workers, seconds=SECONDS, spread=SPREAD, failures=FAILURES):
        self.workers, self.free, self.failures = workers, workers, failures
        self.fastest = 2 * seconds / (1 + spread)
        self.slowest = spread * self.fastest
        self.rng = random.Random(0)
        self.waiting, self.running = collections.deque(), []
        self.evaluations = []  # (begin, end) on the simulated clock
        self.overheads = [0.0]  # real seconds that the search took before each candidate
        self.clock, self.returned = 0.0, time.perf_counter()

    def submit(self, path, parents):
        self._count_the_search()
        self.waiting.append(path)
        self._start_what_waits()

    def next(self):
        self._count_the_search()
        end, path, seconds = heapq.heappop(self.running)
        self.clock = max(self.clock, end)
        self.free += 1
        self._start_what_waits()
        self.overheads.append(0.0)
        if self.rng.random() < self.failures:
            return Candidate(path, seconds=seconds, error="RuntimeError: simulated")
        score = sum(path) + self.rng.random()
        return Candidate(path, score=score, metrics={"bbox/AP": score, "bbox/AP50": score}, seconds=seconds)

    def _count_the_search(self):
        now = time.perf_counter()
        self.overheads[-1] += now - self.returned
        self.clock += now - self.returned
        self.returned = now

    def _start_what_waits(self):
        while self.free and self.waiting:
            self.free -= 1
            seconds = self.rng.uniform(self.fastest, self.slowest)
            self.evaluations.append((self.clock, self.clock + seconds))
            heapq.heappush(self.running, (self.clock + seconds, self.waiting.popleft(), seconds))
        self.returned = time.perf_counter()

    def idle(self):
        """Share of the workers' time without work: [up to the last start of an evaluation, up to the end]."""
        shares = []
        for until in (max(begin for begin, _ in self.evaluations), self.clock):
            busy = sum(min(end, until) - begin for begin, end in self.evaluations if begin < until)
            shares.append(1 - busy / (self.workers * until) if until else 0.0)
        return shares


def search(cfg, limits, executor, candidates, asynchronous, population):
    """Run the search of search_net.py with its log on the disk; returns the number of candidates."""
    cfg = cfg.clone()
    cfg.SEARCH.POPULATION = population
    cfg.SEARCH.NUM_MUTATE = cfg.SEARCH.NUM_CROSS = population // 2
    searcher, costs = build_searcher(cfg, limits), functools.partial(all_costs, limits.costs)
    with tempfile.TemporaryDirectory() as folder:
        log = SearchLog(folder, limits.space, {"space": limits.space.name})
        if asynchronous:
            run_asynchronous(searcher, executor, log, candidates, costs)
        else:
            run_search(searcher, executor, log, max(1, candidates // population), costs)
        log.close()
        return len(log)


def simulate(cfg, limits, most):
    rows = []
    for workers in (1, 8, 64, 1000):
        candidates = min(most, max(2000, 10 * workers))
        for asynchronous in (False, True):
            # A generation smaller than the number of workers leaves some idle by definition.
            population = 50 if asynchronous else max(50, workers)
            executor = Simulated(workers)
            done = search(cfg, limits, executor, candidates, asynchronous, population)
            milliseconds = [1000 * seconds for seconds in executor.overheads]
            tenth = max(1, len(milliseconds) // 10)
            mode = "asynchronous" if asynchronous else f"generations of {population}"
            means = (statistics.mean(some) for some in (milliseconds, milliseconds[:tenth], milliseconds[-tenth:]))
            shares = (f"{share:.1%}" for share in executor.idle())
            rows.append([workers, mode, done, *(f"{mean:.2f}" for mean in means), *shares])
            print(rows[-1], flush=True)
    return table(rows, ["workers", "mode", "candidates", "ms each", "first tenth", "last tenth", "idle", "with end"])


class Sleeper:
    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self, path, parents):
        time.sleep(self.seconds)
        return {"bbox/AP": float(sum(path))}


def with_ray(cfg, limits, candidates=60, seconds=0.2):
    """Cost of a candidate beyond its sleep, with real Ray workers that sleep; returns a sentence."""
    start = time.perf_counter()
    executor = RayExecutor(functools.partial(Sleeper, seconds), "bbox/AP", workers=2)
    try:
        for i in (1, 2):
            executor.submit(limits.space.random(random.Random(-i)), ())
        executor.next(), executor.next()
        started = time.perf_counter() - start
        start = time.perf_counter()
        done = search(cfg, limits, executor, candidates, True, 50)
        took = time.perf_counter() - start
    finally:
        executor.close()
    overhead = 1000 * (2 * took / done - seconds)
    return (
        f"Ray with 2 workers that sleep {seconds} s: {overhead:.1f} ms of a worker's time a candidate beyond the sleep "
        f"({done} candidates, asynchronous); {started:.1f} s from nothing to the first two results."
    )


def main(args):
    logging.getLogger("detnas").setLevel(logging.ERROR)
    cfg = load_config("configs/COCO/supernet_fpn_300M.yaml", ["MODEL.DEVICE", "cpu"])
    limits = supernet_limits(cfg)
    simulated = simulate(cfg, limits, args.candidates)
    text = (
        f"    python benchmarks/scale.py --candidates {args.candidates}\n\n"
        f"Evaluations of {SECONDS:.0f} s on the average, the slowest {SPREAD:.0f} times the fastest, {FAILURES:.0%} "
        "failures. Milliseconds are those of the search between two candidates: proposing, costs, log with fsync, "
        "progress. Idle is the share of the workers' time without work until the last candidate is handed out, and "
        f"with the end, when there is nothing left to hand out.\n\n{simulated}\n\n{with_ray(cfg, limits)}"
    )
    show(text)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--candidates", type=int, default=10000, help="most of one search")
    main(arguments.parse_args())
