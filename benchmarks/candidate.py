#!/usr/bin/env python
"""
What a candidate of the search costs on real images (blood cells, $DETNAS_DATA), FPN and RetinaNet, side by side in one
run with the same weights, paths and images:

    python benchmarks/candidate.py [--paths 2] [--images 50] [--opts KEY VALUE ...] [--write]

- the reference protocol, put down from its description: a process builds the detector, loads the supernet, runs the
  recalibration images in training mode with losses and writes a checkpoint; a second process loads it and evaluates,
  image by image, with pycocotools;
- our evaluator, in a process that stays;
- the bare forward passes of ours, and Detectron2's plain inference (one image at a time, fp32, nothing folded).

The supernets are those of configs/demo/bccd_2_scratch*.yaml, if they were trained here, else random weights: scores are
then meaningless, times hardly differ.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import detnas.compat  # isort: skip  # first: it mends Detectron2 0.6
import torch
from detectron2.modeling import build_model
from tables import need_real_images, parser, publish, table

from detnas.config.load import load_config

PARTS = Path(__file__).with_name("candidate_parts.py")
CONFIGS = {
    "FPN": "configs/demo/bccd_2_scratch.yaml",
    "RetinaNet": "configs/demo/bccd_2_scratch_retinanet.yaml",
}
BCCD = "$DETNAS_DATA/bccd_voc"
COCO = f"coco:{BCCD}/coco/annotations/instances_{{}}.json:{BCCD}/VOCdevkit/VOC2007/JPEGImages"
#: Both read the images in COCO form; three classes.
DATA = ["DATASETS.TRAIN", str((COCO.format("train"),)), "DATASETS.TEST", str((COCO.format("val"),))]
CLASSES = ["MODEL.ROI_HEADS.NUM_CLASSES", "3", "MODEL.RETINANET.NUM_CLASSES", "3"]


def run(part, config, settings):
    """(what the process says, seconds from its start to its end)"""
    start = time.perf_counter()
    command = [sys.executable, str(PARTS), part, config, json.dumps(settings)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    took = time.perf_counter() - start
    return json.loads(done.stdout.splitlines()[-1]), took


def supernet(config, opts, folder):
    """(file, whether it was trained)"""
    cfg = load_config(config, [*DATA, *CLASSES, *opts])
    trained = os.path.join(cfg.OUTPUT_DIR, "model_final.pth")
    if os.path.isfile(trained):
        return trained, True
    cfg.defrost()
    cfg.MODEL.DEVICE, cfg.MODEL.DETNAS.NORM = "cpu", "BN"
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, os.path.join(folder, "random.pth"))
    return os.path.join(folder, "random.pth"), False


def reference(config, settings, folder):
    """Per candidate: (AP, seconds, phases), and the larger one of the two processes' peak memory."""
    rows, memory = [], 0.0
    settings = {**settings, "checkpoint": os.path.join(folder, "recalibrated.pth")}
    for path in settings["paths"]:
        phases, took = {}, 0.0
        for part in ("recalibrate", "evaluate"):
            said, seconds = run(part, config, {**settings, "paths": [path]})
            took += seconds
            memory = max(memory, said["memory_gb"])
            for name, value in said["phases"].items():
                phases[name] = phases.get(name, 0.0) + value
        del phases["imports"], phases["set-up"]
        phases["start, imports, set-up"] = took - sum(phases.values())
        rows.append((said["found"][0], took, phases))
    return rows, memory


def shown(scores):
    """Detectron2 has no AP where nothing was detected."""
    return ", ".join("none" if ap is None else f"{ap:.2f}" for ap in scores)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def compare(name, config, args, folder):
    """Rows of the table of phases, and the sentences below it."""
    weights, trained = supernet(config, args.opts, folder)
    space = detnas.get_space("300M")
    settings = {
        "paths": [space.random_path(random.Random(i)) for i in range(args.paths)],
        "weights": weights,
        "output": folder,
        "opts": [*DATA, "SEARCH.RECALIBRATION_IMAGES", min(args.images, 205), *args.opts],
        "images": args.images,
        "workers": 1,
    }
    said, _ = run("ours", config, settings)
    scores, ours, counts = said["found"]
    theirs, memory = reference(config, settings, folder)
    in_all = sum(ours[key] for key in ("recalibration", "evaluation", "metric"))
    in_all_theirs = mean(took for _, took, _ in theirs)
    passes = ours["passes: recalibration"] + ours["passes: evaluation"]
    plain = ours["plain inference"] / counts["held-out images"]
    all_plain = plain * (counts["held-out images"] + counts["recalibration images"])
    phase = {key: mean(p[key] for _, _, p in theirs) for key in theirs[0][2]}
    other = sum(phase[key] for key in ("build", "load", "loaders", "write"))
    rows = [
        ["start, imports, set-up", f"{phase['start, imports, set-up']:.2f}", "0"],
        ["build, load, loaders, checkpoint", f"{other:.2f}", "0"],
        ["recalibration", f"{phase['recalibration']:.2f}", f"{ours['recalibration']:.2f}"],
        ["evaluation", f"{phase['evaluation']:.2f}", f"{ours['evaluation']:.2f}"],
        ["metric", f"{phase['metric']:.2f}", f"{ours['metric']:.2f}"],
        ["**a candidate**", f"**{in_all_theirs:.2f}**", f"**{in_all:.2f}**"],
        ["peak memory, GB", f"{memory:.2f}", f"{said['memory_gb']:.2f}"],
        ["AP of the paths", shown(ap for ap, _, _ in theirs), shown(scores)],
    ]
    text = (
        f"### {name}, {counts['recalibration images']} + {counts['held-out images']} images"
        f"{'' if trained else ', random weights'}\n\n"
        + table(rows, ["seconds a candidate", f"reference, {args.images} images", "ours"])
        + f"\n\nOurs / reference: **{in_all / in_all_theirs:.3f}**. "
        f"Ours / bare passes ({passes:.2f} s): **{in_all / passes:.2f}**. Bare passes / plain inference: "
        f"**{passes / all_plain:.2f}** over all images ({1000 * plain:.1f} ms each), "
        f"{ours['passes: evaluation'] / ours['plain inference']:.2f} over the held-out ones. The process that stays "
        f"needs {ours['build and load'] * args.paths:.1f} s to build and load, once."
    )
    print(text, flush=True)
    return text


def main(args):
    need_real_images()
    with tempfile.TemporaryDirectory() as folder:
        parts = [compare(name, CONFIGS[name], args, folder) for name in args.detectors]
    flags = f"--paths {args.paths} --images {args.images} --detectors {' '.join(args.detectors)}"
    opts = f" --opts {' '.join(args.opts)}" if args.opts else ""
    publish(args.section, f"    python benchmarks/candidate.py {flags}{opts}\n\n" + "\n\n".join(parts), args.write)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--paths", type=int, default=2, help="candidates")
    arguments.add_argument("--images", type=int, default=50, help="for recalibration; ours: at most 205")
    arguments.add_argument("--detectors", nargs="+", choices=list(CONFIGS), default=list(CONFIGS))
    arguments.add_argument("--opts", nargs="*", default=[], help="settings of both")
    arguments.add_argument("--section", default="candidate", help="of docs/benchmarks.md")
    main(arguments.parse_args())
