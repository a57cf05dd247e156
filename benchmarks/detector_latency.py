#!/usr/bin/env python
"""
How well a sum over blocks predicts a detector's latency in ONNX Runtime, and how long that takes. On an idle machine:

    python benchmarks/detector_latency.py [--configs bccd_2_scratch bccd_2_scratch_retinanet] [--size 240 320]

Or how much longer the first run of a detector takes after runs of others, for folders that find-detector wrote:

    python benchmarks/detector_latency.py --first output/found/detectors/*
"""

import functools
import json
import os
import statistics
import tempfile
import time

import torch
from tables import in_turns, parser, show, table

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.evaluation.readiness import kendall_tau
from detnas.export.detector_latency import median_times, noise
from detnas.export.engines import installed_engines, open_onnx
from detnas.export.latency_predictor import build_latency_predictor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def measure(name, size):
    """A row of the table, for a config of configs/demo."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["OUTPUT_DIR", folder, "SEARCH.DETECTOR_RESOLUTION", str(tuple(size))]
        cfg = load_config(os.path.join(ROOT, "configs", "demo", f"{name}.yaml"), words)
        begin = time.perf_counter()
        predictor = build_latency_predictor(cfg, config_space(cfg))
        took = time.perf_counter() - begin
    measured = predictor.others
    middle = statistics.mean(measured.values())
    spread = [abs(middle - time) / time for time in measured.values()]
    tau = kendall_tau(list(map(predictor.predict, measured)), list(measured.values()))
    times = f"{min(measured.values()):.1f} to {max(measured.values()):.1f}"
    return [name, times, f"{predictor.mean_error:.1%}", f"{statistics.mean(spread):.1%}", f"{tau:.2f}", f"{took:.0f}"]


def first_and_others(folders, rounds=20):
    """A table of detectors: milliseconds of the first run after others, and of those that follow, in each engine."""
    names = [os.path.basename(os.path.normpath(folder)) for folder in folders]
    runs = {}
    for name, folder in zip(names, folders):
        with open(os.path.join(folder, "detector.json"), encoding="utf-8") as f:
            about = json.load(f)
        for engine in installed_engines():
            run = open_onnx(os.path.join(folder, "detector.onnx"), engine, torch.get_num_threads())
            runs[name, engine] = functools.partial(run, noise((about["shorter_side"], about["longer_side"])))
    first, others = in_turns(runs, rounds), dict(zip(runs, median_times(list(runs.values()))))
    rows = [[name, *(f"{1e3 * first[name, engine]:.1f}, {others[name, engine]:.1f}" for engine in installed_engines())]
            for name in names]
    return table(rows, ["first, others", *installed_engines()])


def main(args):
    if args.first:
        return show(f"    python benchmarks/detector_latency.py --first ...\n\n{first_and_others(args.first)}")
    rows = [measure(name, args.size) for name in args.configs]
    first = f"threads: {torch.get_num_threads()}"
    headers = [first, "ms of 8 other networks", "mean error", "if all took their mean", "tau", "seconds"]
    command = f"    python benchmarks/detector_latency.py --size {' '.join(map(str, args.size))}"
    show(f"{command}\n\n{table(rows, headers)}")


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--configs", nargs="+", default=["bccd_2_scratch", "bccd_2_scratch_retinanet"])
    arguments.add_argument("--size", type=int, nargs=2, default=[240, 320], help="height and width of the image")
    arguments.add_argument("--first", nargs="+", metavar="FOLDER", help="of detectors: compare first and other runs")
    main(arguments.parse_args())
