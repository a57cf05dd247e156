#!/usr/bin/env python
"""
How well a sum over blocks predicts a detector's latency in ONNX Runtime, and how long that takes. On an idle machine:

    python benchmarks/detector_latency.py [--configs bccd_2_scratch bccd_2_scratch_retinanet] [--size 240 320]
"""

import os
import statistics
import tempfile
import time

import torch
from tables import parser, show, table

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.evaluation.readiness import kendall_tau
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


def main(args):
    rows = [measure(name, args.size) for name in args.configs]
    first = f"threads: {torch.get_num_threads()}"
    headers = [first, "ms of 8 other networks", "mean error", "if all took their mean", "tau", "seconds"]
    command = f"    python benchmarks/detector_latency.py --size {' '.join(map(str, args.size))}"
    show(f"{command}\n\n{table(rows, headers)}")


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--configs", nargs="+", default=["bccd_2_scratch", "bccd_2_scratch_retinanet"])
    arguments.add_argument("--size", type=int, nargs=2, default=[240, 320], help="height and width of the image")
    main(arguments.parse_args())
