"""
Processes that start in a moment: forks of the tests' process, which has imported what takes long. Where it matters
what is imported, and when, a test starts a new one.
"""

import contextlib
import logging
import multiprocessing
import os
import sys

import pytest
import torch
from detectron2.utils import logger as detectron2_logger
from toy_runs import DEVICE


@contextlib.contextmanager
def forked(said, function, *args):
    """
    The process, of :mod:`multiprocessing`, that calls a function; it leads a group of its own. What it says goes to
    the file ``said``, its exit code is as Python's own. At the end it is killed if it still runs.
    """
    if DEVICE != "cpu":
        pytest.skip("a process that has used a GPU cannot be forked")
    process = multiprocessing.get_context("fork").Process(target=_call, args=(said, function, args))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _call(said, function, args):
    os.setsid()
    # Nothing goes to pytest, or to a log of the tests' process.
    sys.stdout = sys.stderr = open(said, "w", buffering=1)
    for number in (1, 2):
        os.dup2(sys.stdout.fileno(), number)
    for name in ("fvcore", "detectron2", "detnas"):
        logging.getLogger(name).handlers.clear()
    detectron2_logger.setup_logger.cache_clear()
    # Threads of OpenMP do not outlive a fork.
    torch.set_num_threads(1)
    function(*args)
