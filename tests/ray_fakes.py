"""Evaluators, and an executor without a fixed order, for tests of Ray; a module that workers can import."""

import os
import random
import signal
import time
from pathlib import Path

from detnas.errors import UnreadableImage
from detnas.search.executor import LOOKS, LocalExecutor
from detnas.search.racing import Race

RACE = Race(share=0.5, parents=3, rungs=2)


def run_all(executor, paths):
    """The candidates of some paths, in the order in which they finish."""
    for path in paths:
        executor.submit(path, ())
    return [executor.next() for _ in paths]


class Shuffled(LocalExecutor):
    """Candidates finish in any order, as with several workers."""

    rng = random.Random(0)

    def next(self):
        self.rng.shuffle(self.waiting)
        return super().next()


def raced(path, parents, to_beat):
    """Evaluate a path with looks, whose scores are about the score of the whole evaluation."""
    looks = []
    for images, least in zip((10, 20), to_beat):
        looks.append({"images": images, "score": sum(path) + random.Random(f"{path} {images}").gauss(0, 1)})
        if least is not None and looks[-1]["score"] < least:
            return {LOOKS: looks}
    return {"AP": float(sum(path)), LOOKS: looks}


class Fake:
    """
    Evaluates a path to {"AP": sum of its ops}, in a race as :func:`raced`. First ops disturb it: 1 kills the worker and
    3 hangs it, the first time only; 2 raises. All 2s are a damaged image, all 3s an AP of NaN.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self, path, parents, to_beat=None):
        if to_beat is not None:
            return raced(path, parents, to_beat)
        seen = self.folder / "".join(map(str, path))
        first = not seen.exists()
        with seen.open("a") as f:
            f.write(f"{os.getpid()}\n")
        if set(path) == {3}:
            return {"AP": float("nan")}
        if set(path) == {2}:
            raise UnreadableImage("a.jpg cannot be read as an image")
        if path[0] == 1 and first:
            os.kill(os.getpid(), signal.SIGKILL)
        if path[0] == 2:
            raise RuntimeError("no memory")
        if path[0] == 3 and first:
            time.sleep(600)
        time.sleep(0.05)
        return {"AP": float(sum(path))}


def broken(folder):
    raise RuntimeError("no model")
