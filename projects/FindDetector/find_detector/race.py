"""
Races trainings: all have the same short time, and the better half goes on, until one is left.

    python -m find_detector.race --seconds 160 --output RACE CONFIG CONFIG ...

All rounds take the same time, divided among those that are left, which go on from their weights of the round before.
Out of the first round all go on but those with less than a fifth of what the best one has. What counts is the AP on
``DATASETS.TEST`` of the configs, which must be the same images, and none of the training; twice the AP from pre-trained
weights: small networks from random ones have many more steps in so short a time, and gain less later.
RACE/race.json has times and AP of all rounds, RACE/NAME/ROUND the weights. Killed, the same command goes on.
"""

import argparse
import json
import logging
import math
import os
import statistics
import time
from typing import Any, Dict, List

from detnas import compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

import pretrained  # it registers its keys
from detnas.errors import UserError, user_errors
from detnas.files import read_json, write_text
from detnas.launch.outputs import read_metrics
from detnas.launch.setup import save_config
from detnas.training.trainer import build_trainer

from .measure import machine_config, step_seconds

RACE_FILE = "race.json"
#: fewest iterations of a training, and most in which its learning rate rises
_LEAST_ITERATIONS, _WARMUP = 20, 50
#: seconds for which steps are measured, as a share of those of the trainings
_MEASURING = 0.1
#: A start with less than this share of the best AP is out at once, where the best has so much.
_HOPELESS, _LEAST_AP = 0.2, 2.0
#: what the AP of pre-trained networks counts: on blood cells and circuit boards this told them apart (docs/own_data.md)
_PRETRAINED = 2.0

logger = logging.getLogger(__name__)


class Race:
    """
    Args:
        files: a config each, the likeliest first: where none finds anything, the order stays.
        seconds: of all trainings.
        folder: for what is written.
    """

    def __init__(self, files: List[str], seconds: float, folder: str):
        self.files = {os.path.splitext(os.path.basename(file))[0]: file for file in files}
        self.seconds, self.folder = seconds, folder
        #: name -> {"step": seconds of an iteration, "rounds": [what :meth:`_train` returns, ...]}
        self.entries: Dict[str, Any] = read_race(folder).get("entries", {})

    def run(self) -> None:
        left = list(self.files)
        for name in left:
            if name not in self.entries:
                seconds = self.seconds * _MEASURING / len(left)
                cfg = machine_config(self.files[name])
                factor = _PRETRAINED if pretrained.uses_timm(cfg) and cfg.MODEL.TIMM.WEIGHTS else 1.0
                # The median: a network whose step is short waits longer for its first images.
                step, _ = step_seconds(cfg, seconds, statistics.median)
                self.entries[name] = {"step": step, "factor": factor, "rounds": []}
                self._save()
        rounds, number = math.ceil(math.log2(len(left))) + 1, 0
        while len(left) > 1:
            for name in left:
                entry = self.entries[name]
                if len(entry["rounds"]) <= number:
                    # What a round takes is known better than what the first steps took.
                    step = (entry["rounds"] or [entry])[-1]["step"]
                    iterations = int(self.seconds / rounds / len(left) / step)
                    weights = entry["rounds"][-1]["weights"] if entry["rounds"] else ""
                    entry["rounds"].append(self._train(name, number + 1, iterations, weights))
                    self._save()
            found = {name: self.entries[name]["factor"] * self.entries[name]["rounds"][number]["AP"] for name in left}
            left.sort(key=lambda name: -found[name])
            best, most = found[left[0]], math.ceil(len(self.files) / 2 ** number)
            number += 1
            said = ", ".join(f"{name} {found[name]:.1f}" for name in left)
            logger.info(f"round {number}, AP, twice that from pre-trained weights: {said}")
            left = [name for name in left[:most] if best < _LEAST_AP or found[name] >= _HOPELESS * best]
        self._save(best=left[0])

    def _save(self, **best):
        write_text(os.path.join(self.folder, RACE_FILE), json.dumps({"entries": self.entries, **best}, indent=1))

    def _train(self, name, number, iterations, weights):
        """Train in a round, or go on with it after a kill; returns what counts of it, with times in seconds."""
        cfg, iterations = machine_config(self.files[name]), max(iterations, _LEAST_ITERATIONS)
        logger.info(f"{name}, round {number}: {iterations} iterations")
        cfg.OUTPUT_DIR = os.path.join(self.folder, name, str(number))
        cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS = iterations, min(_WARMUP, iterations // 4)
        cfg.SOLVER.CHECKPOINT_PERIOD = max(100, iterations // 4)
        cfg.MODEL.WEIGHTS = weights or cfg.MODEL.WEIGHTS
        os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
        seed_all_rng(max(cfg.SEED, 0))
        start, diverged = time.perf_counter(), False
        try:
            trainer = build_trainer(cfg, resume=True)
            save_config(cfg)
            trainer.train(trainer.start_iter, iterations)
        except SystemExit as e:
            # A number is that of a signal.
            if not isinstance(e.code, str):
                raise
            logger.warning(f"{name} is out of the race: {e.code}")
            diverged = True
        seconds, lines = time.perf_counter() - start, read_metrics(cfg.OUTPUT_DIR)
        step = statistics.median([line["time"] for line in lines if "time" in line] or [seconds / iterations])
        ap = -1.0 if diverged else test_scores(cfg.OUTPUT_DIR).get("AP") or 0.0
        return {"iterations": iterations, "seconds": seconds, "step": step, "AP": ap,
                "evaluation": max(0.0, seconds - step * iterations),
                "weights": os.path.join(cfg.OUTPUT_DIR, "model_final.pth")}


def test_scores(folder: str) -> dict:
    """{"AP": ..., "AP50": ...} on the test images at the end of a training; {} if it has none."""
    lines = [line for line in read_metrics(folder) if "bbox/AP" in line]
    return {name: lines[-1].get(f"bbox/{name}") for name in ("AP", "AP50")} if lines else {}


def read_race(folder: str) -> Dict[str, Any]:
    """race.json of a folder: "entries" and, once it has ended, "best"; {} if there is none."""
    return read_json(os.path.join(folder, RACE_FILE), {})


def main(argv=None) -> None:
    args = parser().parse_args(argv)
    with user_errors():
        if not 0 < args.seconds < math.inf:
            raise UserError(f"--seconds {args.seconds:g}: it must be more than 0")
        for name in ("fvcore", "detectron2", "detnas", "find_detector", "pretrained"):
            setup_logger(args.output, name=name)
        Race(args.config, args.seconds, args.output).run()


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, required=True, help="of all trainings of the race")
    parser.add_argument("--output", required=True, metavar="FOLDER")
    parser.add_argument("config", nargs="+", help="of a training, the likeliest first")
    return parser


if __name__ == "__main__":
    main()
