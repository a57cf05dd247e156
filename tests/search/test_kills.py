"""Searches that are killed at any moment, with a fitness that needs no network."""

import itertools
import multiprocessing
import random
import signal
import time

import pytest

from detnas import get_space
from detnas.search.evolution import Searcher
from detnas.search.executor import LocalExecutor
from detnas.search.log import SearchLog
from detnas.search.loop import run_asynchronous, run_search

SPACE = get_space("tiny")
HEADER = {"space": "tiny", "metric": "AP"}
GENERATIONS, POPULATION = 6, 10


def evaluate(path, parents):
    time.sleep(0.001)
    return {"AP": float(sum(i * op for i, op in enumerate(path, 1)) % 23)}


def search(folder, asynchronous=False):
    log = SearchLog(str(folder), SPACE, HEADER)
    searcher = Searcher(SPACE, lambda path: sum(path) < 16, POPULATION, num_parents=4, num_mutate=5, num_cross=4)
    executor = LocalExecutor(evaluate, "AP")
    if asynchronous:
        run_asynchronous(searcher, executor, log, GENERATIONS * POPULATION)
    else:
        run_search(searcher, executor, log, GENERATIONS, costs=lambda path: {"cost": sum(path)})
    log.close()


def killed_search(folder, asynchronous, seconds):
    """Ends its process after these seconds, if it takes longer."""
    # Python is not asked, as with kill -9. From within, so that however long a fork takes there is some time to search.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    search(folder, asynchronous)


def final(folder):
    """The whole log but the times."""
    return [{**vars(c), "seconds": 0} for c in SearchLog(str(folder), SPACE).history()]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_search_killed_a_dozen_times_ends_with_the_log_of_an_uninterrupted_one(tmp_path, asynchronous):
    start = time.perf_counter()
    search(tmp_path / "whole", asynchronous)
    took = time.perf_counter() - start
    whole = final(tmp_path / "whole")
    assert len(whole) == GENERATIONS * POPULATION and any(c["parents"] for c in whole)

    fork, rng, kills = multiprocessing.get_context("fork"), random.Random(0), 0
    for number in itertools.count():
        folder = tmp_path / str(number)
        while True:
            process = fork.Process(target=killed_search, args=(folder, asynchronous, rng.uniform(0.05, 0.5) * took))
            process.start()
            process.join()
            if process.exitcode != -signal.SIGALRM:
                break
            kills += 1
        assert process.exitcode == 0 and final(folder) == whole
        if kills >= 12:
            break
