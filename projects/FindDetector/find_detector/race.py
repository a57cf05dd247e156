"""
Races trainings: all have the same short time, and the better half goes on, until one is left.

    python -m find_detector.race seconds=200 whole=600 folder=RACE workers=2 files=CONFIG files=CONFIG ...

Each is the first part of a training of ``whole`` seconds: nothing is begun anew in a round, and the best goes on
where the race has ended. So many run side by side as there are workers. What counts is the AP that each can be
expected to have at the end, by its evaluations on ``DATASETS.TEST`` of the configs, which must be the same images, and
none of the training. The first ``likely`` ones are preferred unless another is expected to be much better.
RACE/race.json has times and AP of all rounds, RACE/NAME the training. Killed, the same command goes on.
"""

import json
import math
import os
import signal
import sys
from typing import Any, Dict, List

import numpy as np

from detnas.errors import UserError
from detnas.files import NUMBER, read_json, write_text

from .steps import TOLD, call
from .together import run_side_by_side

#: what the race writes, and each training (find_detector/timed.py)
RACE_FILE, STATE_FILE = "race.json", "timed.json"
#: the form of the latter: see find_detector/timed.py
STATE = {"until": [NUMBER], "found": [NUMBER], "image?": NUMBER, "iterations?": int, "share?": NUMBER}
#: What each start that comes to the end of the race has of the time of one network, and what the race takes of it at
#: most. The best keeps what it has learned there, so the race costs no more than the time of the others.
RACE_SHARE, MOST_RACE_SHARE = 1 / 5, 1 / 3
#: So many times the AP of the likely ones others must be expected to have. What one start was expected to have in two
#: races differed by a third (experiments/RESULTS.md).
MARGIN = 1.5


def race(files: list, seconds: float, whole: float, folder: str, workers: int, likely: int = 0) -> None:
    """
    Args:
        files: a config each, the likeliest first: where none finds anything, the order stays.
        seconds: of the race.
        whole: of the best one's training, here and afterwards.
        folder: for what is written.
        workers: trainings at a time.
        likely: how many of the first ones are likely enough that others must be :data:`MARGIN` times as good.
    """
    left = [os.path.splitext(os.path.basename(file))[0] for file in files]
    configs, entries = dict(zip(left, files)), {}
    weight = {name: MARGIN if number < likely else 1.0 for number, name in enumerate(left)}
    sizes, one_by_one = race_rounds(len(files), workers)
    file = os.path.join(folder, RACE_FILE)
    os.makedirs(folder, exist_ok=True)
    for number, size in enumerate(sizes, 1):
        run_side_by_side({name: [
            "-m", "find_detector.timed", f"number={number}", f"seconds={seconds / one_by_one:.1f}",
            f"whole={whole:.1f}", f"folder={os.path.join(folder, name)}", f"file={configs[name]}",
        ] for name in left}, workers)
        for name in left:
            entry = entries[name] = read_json(os.path.join(folder, name, STATE_FILE), form=STATE)
            # Of a race that goes on after a kill, a training may be further already.
            found = entry["found"][:2 * number]
            entry["expected"] = expected_ap(entry["until"][:number], found, whole)
            print(f"{TOLD}round {number}: {name}, {found[-1]:.1f} AP, {entry['expected']:.1f} to expect at the end",
                  flush=True)
        left = sorted(left, key=lambda name: -entries[name]["expected"] * weight[name])[:math.ceil(size / 2)]
        write_text(file, json.dumps({"entries": entries}, indent=1))
    if entries[left[0]]["expected"] < 0:
        raise UserError(f"every training of the race has diverged: lower SOLVER.BASE_LR in {' and '.join(files)}, and "
                        f"remove {folder}")
    write_text(file, json.dumps({"entries": entries, "best": left[0]}, indent=1))


def expected_ap(until: List[float], found: List[float], whole: float) -> float:
    """
    The AP at the end of a training if each doubling of its time adds as much: a line through its evaluations, halfway
    and at the end of each round. AP alone would prefer networks that learn fast to those that learn more.
    """
    times = [time for begin, end in zip([0.0, *until], until) for time in ((begin + end) / 2, end)]
    doubled = float(np.polyfit(np.log2(times), found, 1)[0])
    return min(100.0, found[-1] + max(0.0, doubled * math.log2(whole / until[-1])))


def race_rounds(starts: int, workers: int) -> tuple:
    """
    How many of so many starts train in each round of a race, such as [5, 3, 2], and the trainings one after the other
    that it takes as long as.
    """
    sizes = [starts]
    while sizes[-1] > 2:
        sizes.append(math.ceil(sizes[-1] / 2))
    return sizes, sum(math.ceil(size / workers) for size in sizes)


def race_share(starts: int, workers: int) -> tuple:
    """Shares of the race, and of what the best one trains in it, in the time of one network."""
    sizes, one_by_one = race_rounds(starts, workers)
    share = min(RACE_SHARE * one_by_one / len(sizes), MOST_RACE_SHARE)
    return share, share * len(sizes) / one_by_one


def read_race(folder: str) -> Dict[str, Any]:
    """race.json of a folder: "entries" and, once it has ended, "best"; {} if there is none."""
    form = {"entries": {"": {**STATE, "expected": NUMBER}}, "best?": str}
    return read_json(os.path.join(folder, RACE_FILE), {}, form)


def main(words=None) -> None:
    call(race, words)


if __name__ == "__main__":
    # Its trainings are told, too, and save a checkpoint each.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    main()
