"""What both demos share."""

import concurrent.futures
import os

from tabulate import tabulate

from detnas.launch.outputs import read_metrics

IMAGES = "datasets/outlines"
TEST_SET = f"DATASETS.TEST ('coco:{IMAGES}/test.json:{IMAGES}/test',)"
#: independent steps at a time; networks this small are slower with a second thread
JOBS = min(2, os.cpu_count() or 1)


def generate_images(steps):
    name = "generate the images"
    if not os.path.isdir(IMAGES):
        steps.done.pop(name, None)
    steps(name, "demo/images.py", "outlines")


def run_side_by_side(steps, commands):
    """Run independent steps, name -> arguments of python, :data:`JOBS` at a time."""
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        # A failure is raised once the steps beside it have ended.
        list(pool.map(lambda step: steps(step[0], *step[1].split()), commands.items()))


def test_ap(folder):
    """AP on the test images at the end of a training."""
    return [line["bbox/AP"] for line in read_metrics(folder) if "bbox/AP" in line][-1]


def as_text(networks, headers, seconds, files):
    """Three tables: rows ``networks`` under ``headers``, ``seconds`` by step, and rows ``files`` of (what, where)."""
    times = [*seconds.items(), (f"sum; some ran {JOBS} at a time", sum(seconds.values()))]
    return "\n\n".join(
        tabulate(rows, headers, tablefmt="github", floatfmt=floats)
        for rows, headers, floats in (
            (networks, headers, ".1f"),
            (times, ["step", "seconds"], ".0f"),
            (files, ["what", "where"], "g"),
        )
    )
