#!/usr/bin/env python
"""
Search on generated images, and see whether it was worth it: ten minutes on a laptop with 2 cores.

    python demo/run.py                    start, or go on where the last run stopped
    python demo/run.py --method spnas     both phases of SP-NAS in place of DetNAS
    python demo/run.py --restart          forget the last run

DetNAS trains a supernet from random weights and searches it. Then the winner, the best network of one op and three
random ones are each trained alone by the same recipe. SP-NAS grows a network, then copies its stages; the result, the
best serial network and the start network are compared after equal time. Every step is a command that you could type;
it is shown, and its output goes to output/demo/log/ or output/demo_spnas/log/.
"""

import argparse
import contextlib
import importlib
import os
import shutil

from detnas.errors import user_errors
from find_detector.steps import Steps, goes_on_later

METHODS = ("detnas", "spnas")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=METHODS, default="detnas", help="of the search")
    parser.add_argument("--restart", action="store_true", help="forget the last run")
    # All paths of the demo are relative to the project.
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    args = parser.parse_args()
    demo = importlib.import_module(f"{args.method}_demo")
    if args.restart:
        shutil.rmtree(demo.OUTPUT, ignore_errors=True)
    print(f"A search on generated images. Full output: {demo.LOGS}; Ctrl-C and start again to go on.")
    with user_errors():
        steps = Steps(demo.OUTPUT, threads=1, what="demo", otherwise="start with --restart")
        with contextlib.closing(steps):
            demo.run_all(steps)
    table = demo.results({name: step["seconds"] for name, step in steps.done.items()})
    with open(demo.RESULTS_FILE, "w") as f:
        f.write(table + "\n")
    print(f"\n{table}\n\nEverything that the search found, on one page for a browser:\n{demo.REPORT}")


if __name__ == "__main__":
    with goes_on_later():
        main()
