"""What the demos of both methods share."""

import concurrent.futures
import os

from tabulate import tabulate

from detnas.launch.outputs import read_metrics

IMAGES = "datasets/outlines"
TEST_SET = f"DATASETS.TEST ('coco:{IMAGES}/test.json:{IMAGES}/test',)"
#: steps at once where none needs another; for networks this small a second thread costs more time than it saves
JOBS = min(2, os.cpu_count() or 1)


def generate_images(steps):
    name = "generate the images"
    if not os.path.isdir(IMAGES):
        steps.done.pop(name, None)
    steps(name, "demo/images.py", "outlines")


def run_side_by_side(steps, commands):
    """Run steps that need nothing of each other, name -> arguments of python."""
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        # A step that failed is told when those beside it have ended.
        list(pool.map(lambda step: steps(step[0], *step[1].split()), commands.items()))


def test_ap(folder):
    """AP on the test images at the end of a training."""
    return [line["bbox/AP"] for line in read_metrics(folder) if "bbox/AP" in line][-1]


def as_text(networks, headers, seconds, files):
    """
    The tables at the end.

    Args:
        networks: rows of the first one; their numbers get one digit.
        headers: of the first one.
        seconds: step -> its seconds.
        files: rows of (what, where).
    """
    times = [*seconds.items(), (f"sum; some ran {JOBS} at a time", sum(seconds.values()))]
    return "\n\n".join(
        tabulate(rows, headers, tablefmt="github", floatfmt=floats)
        for rows, headers, floats in (
            (networks, headers, ".1f"),
            (times, ["step", "seconds"], ".0f"),
            (files, ["what", "where"], "g"),
        )
    )
