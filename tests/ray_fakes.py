"""Evaluators of the tests of Ray; a module of its own, so that workers can import it."""

import os
import signal
import time
from pathlib import Path

from detnas.errors import UnreadableImage


class Fake:
    """
    path -> {"AP": sum of the ops}; what happens besides depends on the path's first op: 0 nothing, 1 the worker is
    killed the first time, 2 it raises, 3 it hangs the first time; a path of only 2s has a damaged image, one of only
    3s is never a number.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self, path, parents):
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
