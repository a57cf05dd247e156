#!/usr/bin/env python
"""
What the scripts take before they answer, and search_net.py from its start to its first evaluated candidate, without the
evaluation itself, on blood cells; beside those of another clone:

    python benchmarks/start.py [--rounds 3] [--before FOLDER] [--write]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from tables import need_real_images, parser, publish, table

from detnas.search.log import read_log

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIG = "configs/demo/bccd_2_scratch.yaml"
ONE = ["SEARCH.POPULATION", "1", "SEARCH.NUM_MUTATE", "0", "SEARCH.NUM_CROSS", "0", "SEARCH.GENERATIONS", "1"]
#: what is run -> its words; the log is that of a search of one candidate
ANSWERS = {
    "--help": ["search_net.py", "--help"],
    "--list": ["search_net.py", "--config-file", CONFIG, "--list", "OUTPUT_DIR", "LOG"],
}


def run(root, words):
    """A process of a clone's script."""
    env = {**os.environ, "PYTHONPATH": os.path.join(root, "projects", "DetNAS")}
    return subprocess.Popen(
        [sys.executable, *words], cwd=root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def first_candidate(root, folder):
    """Seconds to the first candidate's line in the log, without its evaluation."""
    begin, log = time.perf_counter(), os.path.join(folder, "search.jsonl")
    process = run(root, ["search_net.py", "--config-file", CONFIG, "--random-weights", "OUTPUT_DIR", folder, *ONE])
    # The header is the first line, the candidate the second one.
    while process.poll() is None and not (os.path.exists(log) and open(log).read().count("\n") > 1):
        time.sleep(0.02)
    took = time.perf_counter() - begin
    process.wait()
    return took - read_log(folder).history()[0].seconds


def answer(root, words, folder):
    begin = time.perf_counter()
    run(root, [folder if word == "LOG" else word for word in words]).wait()
    return time.perf_counter() - begin


def measure(root):
    """{what is run: seconds}, once."""
    with tempfile.TemporaryDirectory() as folder:
        first = first_candidate(root, folder)
        return {**{name: answer(root, words, folder) for name, words in ANSWERS.items()}, "first candidate": first}


def main(args):
    need_real_images()
    roots = {**({"before": args.before} if args.before else {}), "now": ROOT}
    rounds = [{name: measure(root) for name, root in roots.items()} for _ in range(args.rounds)]
    rows = []
    for what in rounds[0]["now"]:
        seconds = {name: statistics.median(each[name][what] for each in rounds) for name in roots}
        ratio = [f'{seconds["now"] / seconds["before"]:.2f}'] if args.before else []
        rows.append([what, *(f"{value:.2f}" for value in seconds.values()), *ratio])
    headers = ["median seconds", *roots, *(["now / before"] if args.before else [])]
    options = f"--rounds {args.rounds}{' --before FOLDER' if args.before else ''}"
    publish("start", f"    python benchmarks/start.py {options}\n\n{table(rows, headers)}", args.write)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=3, help="of everything")
    arguments.add_argument("--before", default="", metavar="FOLDER", help="a clone of an earlier commit")
    main(arguments.parse_args())
