"""
Races trainings: in each round, all that are left train for the same short time, and the better half goes on.

    python -m find_detector.race seconds=200 whole=600 folder=RACE workers=2 files=CONFIG files=CONFIG ...

Each is the first part of a training of ``whole`` seconds: a round resumes the one before, and the winner's training
goes on after the race. A round compares the AP expected at the end, from evaluations on ``DATASETS.TEST``. There all
configs must name the same images, and none that train. RACE/race.json has times and AP of all rounds, RACE/NAME a
training. After a kill, the same command goes on.
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

#: files of a race, and of each training
RACE_FILE, STATE_FILE = "race.json", "timed.json"
#: form of STATE_FILE, see find_detector.timed.train
STATE = {"until": [NUMBER], "found": [NUMBER], "image?": NUMBER, "iterations?": int, "share?": NUMBER}
#: Shares of one network's training time: of each start that reaches the end of the race, and of the race at most. The
#: winner keeps its training, so the race costs only the time of the others.
RACE_SHARE, MOST_RACE_SHARE = 1 / 5, 1 / 3
#: Unlikely starts need this many times the expected AP, which differed by a third in two races (experiments/RESULTS.md)
MARGIN = 1.5


def race(files: list, seconds: float, whole: float, folder: str, workers: int, likely: int = 0) -> None:
    """
    Run a race of ``seconds``, with ``workers`` trainings at a time. UserError if all diverge.

    Args:
        files: configs, the likeliest first; ties keep this order.
        whole: seconds of the winner's training, in the race and afterwards.
        likely: how many of the first ones are only beaten by :data:`MARGIN` times their expected AP.
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
            # After a kill, a training may be ahead of the race.
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
    AP to expect after ``whole`` seconds if each doubling of the time adds the same: by a line through ``found``, the AP
    halfway and at the end of each round. ``until`` has the seconds at these ends. AP alone would prefer networks that
    learn fast to those that learn more.
    """
    times = [time for begin, end in zip([0.0, *until], until) for time in ((begin + end) / 2, end)]
    doubled = float(np.polyfit(np.log2(times), found, 1)[0])
    return min(100.0, found[-1] + max(0.0, doubled * math.log2(whole / until[-1])))


def race_rounds(starts: int, workers: int) -> tuple:
    """Starts in each round, such as [5, 3, 2], and how many trainings in a row the race takes."""
    sizes = [starts]
    while sizes[-1] > 2:
        sizes.append(math.ceil(sizes[-1] / 2))
    return sizes, sum(math.ceil(size / workers) for size in sizes)


def race_share(starts: int, workers: int) -> tuple:
    """Shares of one network's training time: of the race, and of the winner's training in it."""
    sizes, one_by_one = race_rounds(starts, workers)
    share = min(RACE_SHARE * one_by_one / len(sizes), MOST_RACE_SHARE)
    return share, share * len(sizes) / one_by_one


def read_race(folder: str) -> Dict[str, Any]:
    """race.json of a folder: "entries" and, at the end, "best"; {} if there is none."""
    form = {"entries": {"": {**STATE, "expected": NUMBER}}, "best?": str}
    return read_json(os.path.join(folder, RACE_FILE), {}, form)


def main(words=None) -> None:
    call(race, words)


if __name__ == "__main__":
    # run_side_by_side then ends the trainings, which save checkpoints.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    main()
