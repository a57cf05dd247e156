#!/usr/bin/env python
"""
A search on generated images, and whether it was worth it, on a laptop: ten minutes on 2 cores.

    python demo/run.py              start, or go on where the last run stopped
    python demo/run.py --restart    forget the last run

A supernet is trained from random weights and searched; then the winner, the best network of one op and three random
ones are each trained alone by the same recipe. Every step is a command line as a user would type it; it is shown, its
full output goes to output/demo/log/.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import shutil
import statistics
import sys

from tabulate import tabulate

from detnas.errors import user_errors
from detnas.files import read_json
from detnas.launch.steps import StepFailed, Steps

OUTPUT = "output/demo"
LOGS, RESULTS_FILE = (os.path.join(OUTPUT, name) for name in ("log", "results.md"))
REPORT = os.path.join(OUTPUT, "supernet", "report.html")
IMAGES = "datasets/outlines"
RANDOM = 3
GENERATE = "generate the images"
#: steps at once after the search; for networks this small a second thread costs more time than it saves
JOBS = min(2, os.cpu_count() or 1)

SEARCH = "search_net.py --config-file configs/demo/outlines_2_train_supernet.yaml"
ALONE = "train_net.py --config-file configs/demo/outlines_alone.yaml --resume MODEL.DETNAS.ARCH {arch} " \
        f"OUTPUT_DIR {OUTPUT}/alone_{{arch}}"
INHERITED = f"{SEARCH} --arch {{arch}} MODEL.WEIGHTS {OUTPUT}/supernet/model_final.pth OUTPUT_DIR {OUTPUT}/inherited " \
            f"DATASETS.TEST ('coco:{IMAGES}/test.json:{IMAGES}/test',)"
#: name -> arguments of python
STEPS = {
    GENERATE: "-m detnas.data.outlines",
    "train the supernet": "train_net.py --config-file configs/demo/outlines_2_train_supernet.yaml --resume",
    "search": SEARCH,
}


def read_lines(*path):
    with open(os.path.join(OUTPUT, *path)) as f:
        return [json.loads(line) for line in f]


def found():
    """
    What the search tells: name -> (arch, score) of the winner, of the best network of one op, and of the first random
    ones; one arch can have two names.
    """
    candidates = [c for c in read_lines("supernet", "search.jsonl")[1:] if c["score"] is not None]
    plain = [c for c in candidates if len(set(c["path"].replace("-", ""))) == 1]
    others = [c for c in candidates if c["generation"] == 0 and c not in plain]
    winner, *_ = sorted(candidates, key=lambda c: (-c["score"], c["path"]))
    chosen = {"the winner": winner, "the best of one op": max(plain, key=lambda c: c["score"])}
    chosen.update({f"random {number}": c for number, c in enumerate(others[:RANDOM], 1)})
    return {name: (c["path"], c["score"]) for name, c in chosen.items()}


def test_ap(arch):
    """AP on the test images of a network that was trained alone."""
    return [line["bbox/AP"] for line in read_lines(f"alone_{arch}", "metrics.json") if "bbox/AP" in line][-1]


def run_all(steps):
    """Everything that is not done yet: the search, then what tells whether it was worth it."""
    if not os.path.isdir(IMAGES):
        steps.done.pop(GENERATE, None)
    for name, arguments in STEPS.items():
        steps(name, *arguments.split())
    networks = found()
    names = {}
    for name, (arch, _) in networks.items():
        # One arch can have two names.
        names.setdefault(arch, name)
    rest = {f"train {name} alone": ALONE.format(arch=arch) for arch, name in names.items()}
    rest["test the winner"] = INHERITED.format(arch=networks["the winner"][0])
    rest["report"] = f"{SEARCH} --report"
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        # A step that failed is told when those beside it have ended.
        list(pool.map(lambda step: steps(step[0], *step[1].split()), rest.items()))


def results(seconds):
    """The table at the end, as text."""
    networks = found()
    inherited = read_json(os.path.join(OUTPUT, "inherited", "evaluation.json"))["metrics"]["bbox/AP"]
    rows = [[f"{name}, {arch}, trained alone", score, test_ap(arch)] for name, (arch, score) in networks.items()]
    first, one_op, *others = rows
    mean = [statistics.mean(row[column] for row in others) for column in (1, 2)]
    scores = [
        first,
        ["the winner without training of its own", first[1], inherited],
        one_op,
        [f"mean of {len(others)} random networks, trained alone", *mean],
    ]
    times = list(seconds.items()) + [(f"sum; those after the search ran {JOBS} at a time", sum(seconds.values()))]
    files = [
        ["every candidate of the search", f"{OUTPUT}/supernet/search.jsonl"],
        ["picture of the search", f"{OUTPUT}/supernet/search.png"],
        ["the winner's arch", f"{OUTPUT}/supernet/best.yaml"],
        ["its detector with the supernet's weights", f"{OUTPUT}/supernet/best.pth"],
        ["its detector, trained alone", f"{OUTPUT}/alone_{networks['the winner'][0]}/model_final.pth"],
        ["output of all commands", LOGS],
        ["this table", RESULTS_FILE],
    ]
    return "\n\n".join(
        tabulate(rows, headers, tablefmt="github", floatfmt=floats)
        for rows, headers, floats in (
            (scores, ["network", "AP in the search", "AP on the test images"], ".1f"),
            (times, ["step", "seconds"], ".0f"),
            (files, ["what", "where"], "g"),
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restart", action="store_true", help="forget the last run")
    # All paths of the demo are relative to the project.
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if parser.parse_args().restart:
        shutil.rmtree(OUTPUT, ignore_errors=True)
    print(f"A search on generated images. Full output: {LOGS}; Ctrl-C and start again to go on.")
    with user_errors():
        steps = Steps(OUTPUT, threads=1, what="demo", otherwise="start with --restart")
        with contextlib.closing(steps):
            run_all(steps)
    table = results({name: step["seconds"] for name, step in steps.done.items()})
    with open(RESULTS_FILE, "w") as f:
        f.write(table + "\n")
    print(f"\n{table}\n\nEverything that the search found, on one page for a browser:\n{REPORT}")


if __name__ == "__main__":
    try:
        main()
    except StepFailed as e:
        sys.exit(f"\n{e}. Start again to go on from here.")
    except KeyboardInterrupt:
        sys.exit("\nStopped. Start again to go on.")
