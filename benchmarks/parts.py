#!/usr/bin/env python
"""
Where the time of a candidate's passes goes, part by part of the detector, beside the multiply-adds of each:

    python benchmarks/parts.py [--config-file CONFIG] [--rounds 3] [--write] [KEY VALUE ...]

Detectron2's plain inference (image by image, norms unfolded, NCHW) and the evaluator's passes in turns, on the held-out
images, with the weights of the supernet (MODEL.WEIGHTS, or what the config's training left) and a random path.
"""

import random
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from tables import now, publish, table, with_write

from detnas.command_line import argument_parser
from detnas.config.keys import config_space
from detnas.cost.detector import detector_costs
from detnas.data.fixed_batches import in_batches
from detnas.errors import user_errors
from detnas.evaluation.evaluators import only_warnings
from detnas.launch.outputs import trained_weights
from detnas.launch.setup import setup
from detnas.search.evaluator import CandidateEvaluator


class Stopwatch:
    """Seconds within some modules since the last ``take()``."""

    def __init__(self, modules):
        self.seconds, self.starts = dict.fromkeys(modules, 0.0), {}
        for name, module in modules.items():
            module.register_forward_pre_hook(lambda *_, name=name: self._start(name))
            module.register_forward_hook(lambda *_, name=name: self._stop(name))

    def _start(self, name):
        self.starts[name] = now()

    def _stop(self, name):
        self.seconds[name] += now() - self.starts[name]

    def take(self):
        taken, self.seconds = self.seconds, dict.fromkeys(self.seconds, 0.0)
        return taken


def modules_of(model):
    """The modules that are timed."""
    modules = {"backbone": model.backbone.bottom_up, "with neck": model.backbone}
    if hasattr(model, "head"):
        return {**modules, "head": model.head}
    rpn, heads = model.proposal_generator, model.roi_heads
    modules.update({"RPN": rpn.rpn_head, "with proposals": rpn, "RoIAlign": heads.box_pooler})
    return {**modules, "box convs": heads.box_head, "box outputs": heads.box_predictor}


def parts_of(seconds, whole):
    """Seconds of disjoint parts from those of the modules and of the whole passes."""
    parts = {"backbone": seconds["backbone"], "neck": seconds["with neck"] - seconds["backbone"]}
    if "head" in seconds:
        parts["head"] = seconds["head"]
    else:
        parts["RPN"] = seconds["RPN"]
        parts["proposals"] = seconds["with proposals"] - seconds["RPN"]
        parts["RoIAlign"] = seconds["RoIAlign"]
        parts["box head"] = seconds["box convs"] + seconds["box outputs"]
    return {**parts, "decoding, NMS, rest": whole - sum(parts.values()), "whole": whole}


def measure(model, watch, batches, mode):
    """Seconds of each part in the passes over batches, within the context that ``mode()`` gives."""
    watch.take()
    start = now()
    with mode():
        for batch in batches:
            model(batch)
    return parts_of(watch.take(), now() - start)


def main(args):
    with user_errors():
        cfg = setup(args)
        evaluator = CandidateEvaluator(cfg, trained_weights(cfg, args.opts))
    evaluator.supernet.path = config_space(cfg).random_path(random.Random(0))
    images = [x for batch in evaluator.held_out for x in batch]
    height, width = images[0]["image"].shape[-2:]
    runs = {"plain": (in_batches(images, 1), torch.no_grad), "ours": (list(evaluator.held_out), evaluator.inference)}
    found = {name: [] for name in runs}
    with only_warnings("detectron2", "fvcore"):
        evaluator.recalibrate()
        watch = Stopwatch(modules_of(evaluator.model))
        for _ in range(args.rounds + 1):
            for name, (batches, mode) in runs.items():
                found[name].append(measure(evaluator.model, watch, batches, mode))
    # The first round warms up.
    ms = {
        name: {part: 1000 * statistics.median(r[part] for r in rounds[1:]) / len(images) for part in rounds[0]}
        for name, rounds in found.items()
    }
    costs = {name.split(",")[0]: cost["flops"] / 1e9 for name, cost in detector_costs(cfg, (height, width)).items()}
    rows = []
    for part, ours in ms["ours"].items():
        flops = costs.get(part)
        rate = [f"{flops:.2f}", f"{flops / ours * 1000:.0f}"] if flops else ["", ""]
        rows.append([part, f"{ms['plain'][part]:.1f}", f"{ours:.1f}", f"{ours / ms['ours']['whole']:.0%}", *rate])
    text = (
        f"    python benchmarks/parts.py --config-file {args.config_file} --rounds {args.rounds}\n\n"
        + f"Milliseconds an image of {height}x{width}, {len(images)} images, medians of {args.rounds} rounds.\n\n"
        + table(rows, ["part", "plain", "ours", "share of ours", "G multiply-adds", "G/s of ours"])
    )
    publish("parts", text, args.write)


if __name__ == "__main__":
    arguments = with_write(argument_parser(__doc__))
    arguments.set_defaults(config_file="configs/demo/bccd_2_scratch.yaml")
    arguments.add_argument("--rounds", type=int, default=3)
    main(arguments.parse_args())
