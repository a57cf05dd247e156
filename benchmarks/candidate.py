#!/usr/bin/env python
"""
Cost of a search candidate on blood cells in $DETNAS_DATA, FPN and RetinaNet, with the same weights, paths and images:

    python benchmarks/candidate.py [--paths 2] [--images 50]

- Reference protocol, written from its description. One process builds the detector, loads the supernet, runs the
  recalibration images in training mode with losses and writes a checkpoint. A second process loads it and evaluates,
  image by image, with pycocotools.
- Our evaluator, in one process for all candidates.

Without supernets of configs/demo/bccd_2_scratch*.yaml, weights are random: scores mean nothing, times hardly differ.
"""

import contextlib
import io
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.data import MapDataset, build_detection_test_loader
from detectron2.evaluation import COCOEvaluator
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from tables import now, parser, show, table
from torch.utils.data import DataLoader

from detnas.batch_norm.recalibration import build_recalibration_batches
from detnas.command_line import argument_parser
from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.data.mapper import build_mapper, build_recalibration_mapper
from detnas.launch.setup import setup
from detnas.modeling.choices import activate
from detnas.modeling.weights import load_weights
from detnas.search.evaluator import CandidateEvaluator, flatten

CONFIGS = {"FPN": "configs/demo/bccd_2_scratch.yaml", "RetinaNet": "configs/demo/bccd_2_scratch_retinanet.yaml"}
BCCD = "$DETNAS_DATA/bccd_voc"
COCO = f"coco:{BCCD}/coco/annotations/instances_{{}}.json:{BCCD}/VOCdevkit/VOC2007/JPEGImages"
#: both ways read the images in COCO form, with three classes
DATA = ["DATASETS.TRAIN", str((COCO.format("train"),)), "DATASETS.TEST", str((COCO.format("val"),)),
        "MODEL.ROI_HEADS.NUM_CLASSES", "3", "MODEL.RETINANET.NUM_CLASSES", "3"]


class Phases(dict):
    """``with phases("name"):`` adds the seconds of the block."""

    @contextlib.contextmanager
    def __call__(self, name):
        start = now()
        yield
        self[name] = self.get(name, 0.0) + now() - start


def build(cfg, settings, file, phases):
    with phases("build, load, loaders, checkpoint"):
        model = build_model(cfg)
        activate(model, config_space(cfg), settings["paths"][0])
        load_weights(model, file)
    return model


def recalibrate(cfg, settings, phases):
    """First process of the reference: recalibrate in training mode with all losses and write a checkpoint."""
    model = build(cfg, settings, settings["weights"], phases)
    with phases("build, load, loaders, checkpoint"):
        dicts = [x for batch in build_recalibration_batches(cfg).batches for x in batch]
        dicts = (dicts * (settings["images"] // len(dicts) + 1))[: settings["images"]]
        data, batch = MapDataset(dicts, build_recalibration_mapper(cfg)), cfg.SEARCH.RECALIBRATION_BATCH
        loader = DataLoader(data, batch, collate_fn=list, num_workers=1)
    with phases("recalibration"):
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                # Average over all batches: a moving average forgets and, with few batches, keeps the old state.
                module.momentum = None
                module.reset_running_stats()
        torch.manual_seed(0)
        with torch.no_grad(), EventStorage():
            for images in loader:
                sum(model(images).values())
    with phases("build, load, loaders, checkpoint"):
        torch.save({"model": model.state_dict()}, settings["checkpoint"])


def evaluate(cfg, settings, phases):
    """Second process of the reference: Detectron2's plain inference, image by image, and pycocotools; gives AP."""
    model, name = build(cfg, settings, settings["checkpoint"], phases), cfg.DATASETS.TEST[0]
    with phases("build, load, loaders, checkpoint"):
        loader = build_detection_test_loader(cfg, name, mapper=build_mapper(cfg, is_train=False), num_workers=1)
        metric = COCOEvaluator(name, ("bbox",), distributed=False, output_dir=settings["output"], use_fast_impl=False)
        metric.reset()
    with phases("evaluation"), torch.no_grad():
        model.eval()
        for images in loader:
            metric.process(images, model(images))
    with phases("metric"):
        return flatten(metric.evaluate())["bbox/AP"]


def ours(cfg, settings, phases):
    """Run our evaluator on all paths: (APs, number of recalibration images, number of held-out images)."""
    with phases("build and load"):
        evaluator = CandidateEvaluator(cfg, settings["weights"])
    evaluator(settings["paths"][0])  # decodes the images, warms up
    scores = []
    for path in settings["paths"]:
        evaluator.activate(path)
        with phases("recalibration"):
            evaluator.recalibrate()
        with phases("evaluation"):
            evaluator.metric.reset()
            evaluator.collect(*evaluator.held_out)
        with phases("metric"):
            scores.append(evaluator.score()["bbox/AP"])
    for name in phases.keys() - {"build and load"}:
        phases[name] /= len(scores)
    return scores, *(sum(map(len, batches)) for batches in (evaluator.recalibration, *evaluator.held_out))


def process(name, config, settings):
    """Run one process of the benchmark; its last line is JSON."""
    settings, phases = json.loads(settings), Phases()
    with contextlib.redirect_stdout(io.StringIO()):
        opts = ["OUTPUT_DIR", settings["output"], "MODEL.WEIGHTS", "", *settings["opts"]]
        cfg = setup(argument_parser("").parse_args(["--config-file", config, *map(str, opts)]))
        torch.manual_seed(0)
        found = {"recalibrate": recalibrate, "evaluate": evaluate, "ours": ours}[name](cfg, settings, phases)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"phases": phases, "memory": memory, "found": found}))


def run(name, config, settings):
    """Results of a process. Its seconds outside the phases are the phase "start, imports, set-up"."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--process", name, config, json.dumps(settings)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    said, took = json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - start
    said["phases"]["start, imports, set-up"] = took - sum(said["phases"].values())
    return said


def supernet(config, folder):
    """(checkpoint, whether it was trained)"""
    cfg = load_config(config, DATA)
    trained = os.path.join(cfg.OUTPUT_DIR, "model_final.pth")
    if os.path.isfile(trained):
        return trained, True
    cfg.defrost()
    cfg.MODEL.DEVICE, cfg.MODEL.DETNAS.NORM = "cpu", "BN"
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, os.path.join(folder, "random.pth"))
    return os.path.join(folder, "random.pth"), False


def compare(name, config, args, folder):
    """Print and return the table of phases and the sentences below it."""
    weights, trained = supernet(config, folder)
    space = config_space(load_config(config))
    settings = {
        "paths": [space.random(random.Random(i)) for i in range(args.paths)],
        "weights": weights,
        "output": folder,
        "checkpoint": os.path.join(folder, "recalibrated.pth"),
        "opts": [*DATA, "SEARCH.RECALIBRATION_IMAGES", min(args.images, 205)],
        "images": args.images,
    }
    said = run("ours", config, settings)
    mine, (scores, recalibration_images, held_out) = said["phases"], said["found"]
    pairs = [[run(half, config, {**settings, "paths": [path]}) for half in ("recalibrate", "evaluate")]
             for path in settings["paths"]]
    theirs = {key: statistics.mean(sum(half["phases"].get(key, 0) for half in pair) for pair in pairs)
              for key in {**pairs[0][0]["phases"], **pairs[0][1]["phases"]}}
    before = "start, imports, set-up", "build, load, loaders, checkpoint"
    steps = "recalibration", "evaluation", "metric"
    total, total_theirs = sum(mine[step] for step in steps), sum(theirs.values())
    rows = [[step, f"{theirs[step]:.2f}", "0"] for step in before]
    rows += [[step, f"{theirs[step]:.2f}", f"{mine[step]:.2f}"] for step in steps]
    most = max(half["memory"] for pair in pairs for half in pair)
    rows += [
        ["**a candidate**", f"**{total_theirs:.2f}**", f"**{total:.2f}**"],
        ["peak memory, GB", f"{most:.2f}", f"{said['memory']:.2f}"],
        ["AP of the paths", shown(evaluated["found"] for _, evaluated in pairs), shown(scores)],
    ]
    text = (
        f"### {name}, {recalibration_images} + {held_out} images{'' if trained else ', random weights'}\n\n"
        + table(rows, ["seconds a candidate", f"reference, {args.images} images", "ours"])
        + f"\n\nOurs / reference: **{total / total_theirs:.3f}**. The process that stays needs "
        f"{mine['build and load']:.1f} s to build and load, once."
    )
    print(text, flush=True)
    return text


def shown(scores):
    """APs as text; Detectron2 has none where nothing was detected."""
    return ", ".join("none" if ap is None else f"{ap:.2f}" for ap in scores)


def main(args):
    if not os.environ.get("DETNAS_DATA"):
        sys.exit("error: set DETNAS_DATA to the folder that holds bccd_voc/")
    with tempfile.TemporaryDirectory() as folder:
        texts = [compare(name, CONFIGS[name], args, folder) for name in args.detectors]
    flags = f"--paths {args.paths} --images {args.images} --detectors {' '.join(args.detectors)}"
    show(f"    python benchmarks/candidate.py {flags}\n\n" + "\n\n".join(texts))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--process"]:
        process(*sys.argv[2:])
    else:
        arguments = parser(__doc__)
        arguments.add_argument("--paths", type=int, default=2, help="candidates")
        arguments.add_argument("--images", type=int, default=50, help="for recalibration; ours: at most 205")
        arguments.add_argument("--detectors", nargs="+", choices=list(CONFIGS), default=list(CONFIGS))
        main(arguments.parse_args())
