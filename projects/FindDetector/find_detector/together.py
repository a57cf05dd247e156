"""
Runs command lines side by side; the first that fails ends all:

    python -m find_detector.together 2 NAME WORDS + NAME WORDS       2 at a time; the words are what follows "python"
"""

import contextlib
import itertools
import signal
import subprocess
import sys
import threading
import time
from typing import Dict, List

from .steps import ENDED

BETWEEN = "+"


def run_side_by_side(commands: Dict[str, List[str]], workers: int) -> None:
    """
    Run ``python WORDS`` of {name: words}, ``workers`` at a time, and print their lines behind their names. All end with
    this process or the first failure, which raises SystemExit.
    """
    waiting, running = list(commands.items()), {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                name, words = waiting.pop(0)
                # They inherit the lock of the run.
                process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                           text=True, errors="replace", close_fds=False)
                running[process] = name, threading.Thread(target=_tell, args=(name, process.stdout))
                running[process][1].start()
            time.sleep(0.2)
            for process in [process for process in running if process.poll() is not None]:
                name, thread = running.pop(process)
                thread.join()
                if process.returncode < 0:
                    raise SystemExit(f"error: {name} was ended by signal {-process.returncode}")
                if process.returncode:
                    raise SystemExit(process.returncode)
    finally:
        for process in running:
            process.terminate()
        for process, (_, thread) in running.items():
            process.wait()
            thread.join()


def _tell(name, lines):
    for line in lines:
        # In one call: several threads write. The run may have been killed; its step goes on.
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.write(f"{name}: {line}")
            sys.stdout.flush()
    sys.stdout.write(f"{name}: {ENDED}\n")


def main(argv=None) -> None:
    workers, *words = sys.argv[1:] if argv is None else argv
    groups = itertools.groupby(words, key=BETWEEN.__eq__)
    commands = [list(group) for between, group in groups if not between]
    run_side_by_side({name: words for name, *words in commands}, int(workers))


if __name__ == "__main__":
    # run_side_by_side then ends the commands, and a training saves a checkpoint.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    main()
