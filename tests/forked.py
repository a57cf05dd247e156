"""Forks of the test process, which start at once. A test that depends on imports starts a new process instead."""

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
    """Call a function in a forked process that leads its group and writes to the file ``said``; killed at the end."""
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
    # Nothing goes to pytest or to a log of the test process.
    sys.stdout = sys.stderr = open(said, "w", buffering=1)
    for number in (1, 2):
        os.dup2(sys.stdout.fileno(), number)
    for name in ("fvcore", "detectron2", "detnas"):
        logging.getLogger(name).handlers.clear()
    detectron2_logger.setup_logger.cache_clear()
    # OpenMP's threads do not survive a fork.
    torch.set_num_threads(1)
    function(*args)
