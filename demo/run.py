#!/usr/bin/env python
"""
All four steps of DetNAS on generated data, on a laptop: about eleven minutes on 2 cores.

    python demo/run.py              start, or go on where the last run stopped
    python demo/run.py --restart    forget the last run

Every step is a command line as a user would type it; it is shown, its full output goes to output/demo/demo.log.
"""

import argparse
import json
import os
import shutil
import sys
import time

from tabulate import tabulate

from detnas.engine.commands import StepFailed, run_step

OUTPUT = "output/demo"
LOG, STEPS_FILE, RESULTS_FILE = (os.path.join(OUTPUT, name) for name in ("demo.log", "steps.json", "results.md"))
REPORT = os.path.join(OUTPUT, "2_supernet", "report.html")
ALL_3X3 = "00-00-00-00"

TRAIN = "train_net.py --config-file configs/demo/"
SEARCH = "search_net.py --config-file configs/demo/toy_2_train_supernet.yaml"
BASELINE = f"MODEL.DETNAS.ARCH {ALL_3X3} OUTPUT_DIR {OUTPUT}"
#: name -> arguments of python
STEPS = {
    "generate the data": "-m detnas.data.toy",
    "1 pre-train the supernet": TRAIN + "toy_1_pretrain_supernet.yaml --resume",
    "2 train the supernet on detection": TRAIN + "toy_2_train_supernet.yaml --resume",
    "3 search": SEARCH,
    "3 report": SEARCH + " --report",
    "3 the best path without recalibration": SEARCH + " --eval-only --no-recalibration",
    "4 pre-train the winner": TRAIN + "toy_4_pretrain.yaml --resume",
    "4 retrain the winner": TRAIN + "toy_4_retrain.yaml --resume",
    "4 pre-train all-3x3": TRAIN + f"toy_4_pretrain.yaml --resume {BASELINE}/baseline_pretrain",
    "4 retrain all-3x3": TRAIN + f"toy_4_retrain.yaml --resume {BASELINE}/baseline_retrain "
    f"MODEL.WEIGHTS {OUTPUT}/baseline_pretrain/model_final.pth",
}


def run(name, arguments):
    """Run a step, show its progress on one line. Returns its seconds; ends the demo if it fails."""
    print(f"\n{name}\n  $ python {arguments}", flush=True)
    on_terminal, shown = sys.stdout.isatty(), 0.0

    def say(progress):
        nonlocal shown
        # A terminal gets one line that changes, a file a line every ten seconds.
        if on_terminal or time.perf_counter() - shown > 10:
            shown = time.perf_counter()
            print(f"\r  {progress}\033[K" if on_terminal else f"  {progress}\n", end="", flush=True)

    try:
        # For networks this small a second thread costs more time than it saves.
        seconds = run_step(arguments.split(), LOG, say, threads=1)
    except StepFailed as e:
        sys.exit(f"\n{name} {e}. Start again to go on from here.")
    print(f"\r  done in {seconds:.0f} s\033[K" if on_terminal else f"  done in {seconds:.0f} s", flush=True)
    return seconds


def read_lines(*path):
    with open(os.path.join(OUTPUT, *path)) as f:
        return [json.loads(line) for line in f]


def test_ap(folder):
    """AP on the test images, from the last line that has one."""
    return [line["bbox/AP"] for line in read_lines(folder, "metrics.json") if "bbox/AP" in line][-1]


def results(seconds):
    """The table at the end, as text."""
    candidates = [c for c in read_lines("2_supernet", "search.jsonl")[1:] if c["score"] is not None]
    best = max(candidates, key=lambda c: c["score"])
    first = [c["score"] for c in candidates if c["generation"] == 0]
    with open(os.path.join(OUTPUT, "2_supernet", "evaluation.json")) as f:
        plain = json.load(f)["metrics"]["bbox/AP"]
    scores = [
        ["random first generation, mean", "supernet", sum(first) / len(first)],
        [f"best candidate, {best['path']}", "supernet", best["score"]],
        ["the same path without recalibration", "supernet", plain],
        [f"winner, {best['path']}", "retrained", test_ap("4_retrain")],
        [f"all 3x3 (ShuffleNetv2 style), {ALL_3X3}", "retrained", test_ap("baseline_retrain")],
    ]
    for row, images in zip(scores, ["val"] * 3 + ["test"] * 2):
        row.insert(2, images)
    times = [[name, seconds[name]] for name in STEPS] + [["all", sum(seconds.values())]]
    files = [
        ["every candidate of the search", f"{OUTPUT}/2_supernet/search.jsonl"],
        ["picture of the search", f"{OUTPUT}/2_supernet/search.png"],
        ["the winner's arch", f"{OUTPUT}/2_supernet/best.yaml"],
        ["its detector with the supernet's weights", f"{OUTPUT}/2_supernet/best.pth"],
        ["its detector, retrained", f"{OUTPUT}/4_retrain/model_final.pth"],
        ["output of all commands", LOG],
        ["this table", RESULTS_FILE],
    ]
    return "\n\n".join(
        tabulate(rows, headers, tablefmt="github", floatfmt=floats)
        for rows, headers, floats in (
            (scores, ["network", "weights", "images", "AP"], ".1f"),
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
    os.makedirs(OUTPUT, exist_ok=True)
    seconds = {}
    if os.path.isfile(STEPS_FILE):
        with open(STEPS_FILE) as f:
            seconds = json.load(f)
    print(f"All four steps of DetNAS on generated data. Full output: {LOG}; Ctrl-C and start again to go on.")
    for name, arguments in STEPS.items():
        if name in seconds and (name != "generate the data" or os.path.isdir("datasets/toy")):
            print(f"\n{name}: done before, in {seconds[name]:.0f} s")
            continue
        seconds[name] = run(name, arguments)
        with open(STEPS_FILE, "w") as f:
            json.dump(seconds, f)
    table = results(seconds)
    with open(RESULTS_FILE, "w") as f:
        f.write(table + "\n")
    print(f"\n{table}\n\nEverything that the search found, on one page for a browser:\n{REPORT}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped. Start again to go on.")
