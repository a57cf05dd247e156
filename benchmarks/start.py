#!/usr/bin/env python
"""
From the start of search_net.py to its first evaluated candidate, without the evaluation itself, on blood cells:

    python benchmarks/start.py [--rounds 3] [--write]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

import detnas  # isort: skip  # first: it mends Detectron2 0.6
from tables import need_real_images, parser, publish

from detnas.search.log import SearchLog

CONFIG = "configs/demo/bccd_2_scratch.yaml"
ONE = ["SEARCH.POPULATION", "1", "SEARCH.NUM_MUTATE", "0", "SEARCH.NUM_CROSS", "0", "SEARCH.GENERATIONS", "1"]


def start():
    with tempfile.TemporaryDirectory() as folder:
        script = [sys.executable, "search_net.py", "--config-file", CONFIG, "--random-weights"]
        begin, log = time.perf_counter(), os.path.join(folder, "search.jsonl")
        command = [*script, "OUTPUT_DIR", folder, *ONE]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # The header is the first line, the candidate the second one.
        while process.poll() is None and not (os.path.exists(log) and open(log).read().count("\n") > 1):
            time.sleep(0.02)
        took = time.perf_counter() - begin
        process.wait()
        return took - SearchLog(folder, detnas.get_space("300M")).history()[0].seconds


def main(args):
    need_real_images()
    seconds = [start() for _ in range(args.rounds)]
    text = (
        f"    python benchmarks/start.py --rounds {args.rounds}\n\n"
        f"`search_net.py` on {CONFIG}: **{statistics.median(seconds):.1f} s** from its start to the first candidate's "
        f"line in the log, without the evaluation ({', '.join(f'{value:.1f}' for value in seconds)} s)."
    )
    publish("start", text, args.write)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=3, help="searches")
    main(arguments.parse_args())
