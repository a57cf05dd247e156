"""Runs a Python command line, and passes on its progress while it runs."""

import os
import re
import subprocess
import sys
import time


class StepFailed(Exception):
    """A command line ended with an error."""


def run_step(arguments, log, say, threads=1, pass_fds=()):
    """
    Run ``python ARGUMENTS``.

    Args:
        arguments: list of words.
        log: file to which the command and all its output are appended.
        say: called with the part of each line that tells how far a training or a search is.
        threads: of torch, unless OMP_NUM_THREADS says otherwise.
        pass_fds: open files that the process inherits.

    Returns:
        its seconds.

    Raises:
        StepFailed: if it ends with an error; names the log.
    """
    start = time.perf_counter()
    with open(log, "a") as file:
        file.write(f"\n$ python {' '.join(arguments)}\n")
        file.flush()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"OMP_NUM_THREADS": str(threads), **os.environ},
            pass_fds=pass_fds,
        )
        for line in process.stdout:
            file.write(line)
            file.flush()
            progress = re.search(r"(iteration \d+/\d+ .*|generation \d+/\d+  candidate .*)", line)
            if progress:
                say(progress[1])
    if process.wait():
        raise StepFailed(f"failed; its output is in {log}")
    return time.perf_counter() - start
