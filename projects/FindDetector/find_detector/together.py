"""
Runs command lines side by side, as many as there are cores, and ends all of them with the first that fails:

    python -m find_detector.together WORDS + WORDS        each set of words is what follows "python"
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from typing import List

from .recipe import this_machine

BETWEEN = "+"


def side_by_side(commands: int) -> int:
    """How many of so many commands run at a time: one on a GPU, else one on each core."""
    machine = this_machine()
    return 1 if machine.gpu else min(commands, machine.cores)


def run_side_by_side(commands: List[List[str]], workers: int) -> None:
    """Run ``python WORDS`` of each, so many at a time; all end with the first that fails, or when this process does."""
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS") or this_machine().cores) // workers)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    waiting, running = list(commands), []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                # They keep the lock of the run, too.
                words = [sys.executable, *waiting.pop(0)]
                running.append(subprocess.Popen(words, env=environment, close_fds=False))
            time.sleep(0.2)
            for process in [process for process in running if process.poll() is not None]:
                running.remove(process)
                if process.returncode:
                    raise SystemExit(process.returncode)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def main(argv=None) -> None:
    words = sys.argv[1:] if argv is None else argv
    groups = itertools.groupby(words, key=BETWEEN.__eq__)
    commands = [list(group) for between, group in groups if not between]
    run_side_by_side(commands, side_by_side(len(commands)))


if __name__ == "__main__":
    # Its commands are told, too, and a training saves a checkpoint.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    main()
