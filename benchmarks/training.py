#!/usr/bin/env python
"""
Where the time of a training goes, and how many images it takes a second, here and in an earlier commit, in turns:

    OMP_NUM_THREADS=1 python benchmarks/training.py [--against 9c4e382] [--rounds 3] [--write]

Each turn is a process of its own that trains the supernet of the generated shapes from random weights; medians. The
earlier commit is checked out into a temporary folder and reads the same images.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tables import parser, publish, table

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "configs/demo/toy_2_train_supernet.yaml"
#: what the config had at the earlier commit: large objects sampled densely, and more proposals to compare
ITS_SETTINGS = ("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", "0", "MODEL.RPN.PRE_NMS_TOPK_TRAIN", "400")
PARTS = ("waiting for data", "forward", "backward", "clipping", "update")


def turn(tree, iterations, settings):
    """{part: seconds an iteration} of a training by the package in a checkout."""
    words = [str(ROOT / "benchmarks" / "training_parts.py"), CONFIG, str(iterations)]
    with tempfile.TemporaryDirectory() as output:
        opts = ["MODEL.WEIGHTS", "", "OUTPUT_DIR", output, "DATASETS.TEST", "()", *settings]
        environment = {**os.environ, "PYTHONPATH": str(Path(tree) / "projects" / "DetNAS")}
        done = subprocess.run([sys.executable, *words, *opts], cwd=tree, env=environment, stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"error: the training in {tree} failed")
    return json.loads(done.stdout.splitlines()[-1])


def median(turns):
    return {part: statistics.median(seconds[part] for seconds in turns) for part in turns[0]}


def main():
    args = parser(__doc__)
    args.add_argument("--against", default="9c4e382", metavar="COMMIT", help="the earlier commit")
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--iterations", type=int, default=120, help="of a turn that count")
    args = args.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = os.path.join(folder, "tree")
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, args.against], cwd=ROOT, check=True)
        try:
            os.symlink(ROOT / "datasets", os.path.join(tree, "datasets"))
            kinds = {args.against: (tree, ()), "now, its settings": (ROOT, ITS_SETTINGS), "now": (ROOT, ())}
            turns = {name: [] for name in kinds}
            for _ in range(args.rounds):
                for name, (where, settings) in kinds.items():
                    turns[name].append(turn(where, args.iterations, settings))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    found = {name: median(each) for name, each in turns.items()}
    for seconds in found.values():
        seconds["rest"] = seconds["whole"] - sum(seconds[part] for part in PARTS)
    rows = [
        [part, *(text for seconds in found.values()
                 for text in (f"{1000 * seconds[part]:.1f}", f"{seconds[part] / seconds['whole']:.1%}"))]
        for part in (*PARTS, "rest", "whole")
    ]
    headers = ["part", *(head for name in found for head in (f"ms, {name}", "share"))]
    first, *others = found.values()
    ratios = " and ".join(f"**{first['whole'] / seconds['whole']:.2f}**" for seconds in others)
    command = f"OMP_NUM_THREADS=1 python benchmarks/training.py --against {args.against} --rounds {args.rounds}"
    names = " and ".join(f'"{name}"' for name in list(found)[1:])
    text = f"    {command}\n\n{table(rows, headers)}\n\nImages a second against {args.against}, {names}: {ratios}."
    publish("training", text, args.write)


if __name__ == "__main__":
    main()
