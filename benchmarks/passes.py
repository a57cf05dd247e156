#!/usr/bin/env python
"""
Passes of a candidate: what faster ways save and change in the score, and where the time goes, by module:

    python benchmarks/passes.py [--config-file CONFIG] [--paths 3] [KEY VALUE ...]
    python benchmarks/passes.py --modules [--config-file CONFIG] [--rounds 3] [KEY VALUE ...]

All rows evaluate the same random paths of the supernet (MODEL.WEIGHTS, or the result of the config's training). Plain
passes are Detectron2's: image by image, norms unfolded, NCHW. On a GPU convs take TF32, except in one row.
"""

import contextlib
import io
import random
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from tables import now, show, table

from detnas.command_line import argument_parser
from detnas.config.load import with_settings
from detnas.cost.detector import detector_costs
from detnas.data.fixed_batches import in_batches
from detnas.errors import user_errors
from detnas.evaluation.evaluators import only_warnings
from detnas.launch.outputs import network_weights
from detnas.launch.setup import setup
from detnas.search.evaluator import CandidateEvaluator

NO_TF32 = "as it comes, no TF32"
OPTIONS = {
    "as it comes": {},
    "CHANNELS_LAST True": {"SEARCH.CHANNELS_LAST": True},
    "AUTOCAST bf16": {"SEARCH.AUTOCAST": "bf16"},
    "both": {"SEARCH.CHANNELS_LAST": True, "SEARCH.AUTOCAST": "bf16"},
    NO_TF32: {},
}


class PlainEvaluator(CandidateEvaluator):
    """Our recalibration with Detectron2's plain inference."""

    def collect(self, batches):
        with torch.no_grad():
            for inputs in in_batches([x for batch in batches for x in batch], 1):
                self.metric.process(inputs, self.model(inputs))


def measure(evaluator, paths, metric):
    """(scores, recalibration images per second, evaluation images per second); speeds are medians over the paths."""
    scores, rates = [], ([], [])
    evaluator(paths[0])  # decodes the images, warms up
    for path in paths:
        evaluator.activate(path)
        evaluator.metric.reset()
        held_out = evaluator.held_out[0]
        steps = (evaluator.recalibrate, evaluator.recalibration), (lambda: evaluator.collect(held_out), held_out)
        for (step, batches), found in zip(steps, rates):
            start = now()
            step()
            found.append(sum(map(len, batches)) / (now() - start))
        scores.append(evaluator.score()[metric])
    return scores, *map(statistics.median, rates)


def evaluators(cfg, weights):
    """Yield (name, evaluator), one at a time."""
    cfg = with_settings(cfg, {"SEARCH.CHANNELS_LAST": False, "SEARCH.AUTOCAST": ""})
    yield "plain passes", PlainEvaluator(cfg, weights)
    for name, options in OPTIONS.items():
        if name == NO_TF32 and not cfg.MODEL.DEVICE.startswith("cuda"):
            continue
        torch.backends.cudnn.allow_tf32 = name != NO_TF32
        yield name, CandidateEvaluator(with_settings(cfg, options), weights)


def options(cfg, weights, args):
    rows, plain, metric, gpu = [], None, cfg.SEARCH.METRIC, torch.cuda.is_available()
    with contextlib.redirect_stdout(io.StringIO()):
        for name, evaluator in evaluators(cfg, weights):
            if gpu:
                torch.cuda.reset_peak_memory_stats()
            paths = [evaluator.space.random(random.Random(i)) for i in range(args.paths)]
            scores, *rates = measure(evaluator, paths, metric)
            plain = plain or scores
            changes = "  ".join(f"{score - other:+.4f}" for score, other in zip(scores, plain))
            memory = [f"{torch.cuda.max_memory_allocated() / 1e9:.1f}"] if gpu else []
            rows.append([name, *(f"{rate:.1f}" for rate in rates), changes, *memory])
            del evaluator
    headers = ["evaluator", "recalibration, images/s", "evaluation, images/s", f"change of {metric}"]
    return (
        f"    python benchmarks/passes.py --config-file {args.config_file} --paths {args.paths}\n\n"
        f"{metric} of the paths with plain passes: {'  '.join(f'{score:.2f}' for score in plain)}.\n\n"
        + table(rows, [*headers, *(["GPU memory, GB"] if gpu else [])])
    )


class Stopwatch:
    """Seconds inside some modules since the last ``take()``."""

    def __init__(self, modules):
        self.seconds, self.starts = dict.fromkeys(modules, 0.0), {}
        for name, module in modules.items():
            module.register_forward_pre_hook(lambda *_, name=name: self.starts.update({name: now()}))
            module.register_forward_hook(lambda *_, name=name: self._stop(name))

    def _stop(self, name):
        self.seconds[name] += now() - self.starts[name]

    def take(self):
        taken, self.seconds = self.seconds, dict.fromkeys(self.seconds, 0.0)
        return taken


def modules_of(model):
    """Name -> module to time."""
    modules = {"backbone": model.backbone.bottom_up, "with neck": model.backbone}
    if hasattr(model, "head"):
        return {**modules, "head": model.head}
    rpn, heads = model.proposal_generator, model.roi_heads
    modules.update({"RPN": rpn.rpn_head, "with proposals": rpn, "RoIAlign": heads.box_pooler})
    return {**modules, "box convs": heads.box_head, "box outputs": heads.box_predictor}


def disjoint(seconds, whole):
    """Seconds of disjoint pieces, from seconds of nested modules and of the whole passes."""
    pieces = {"backbone": seconds["backbone"], "neck": seconds["with neck"] - seconds["backbone"]}
    if "head" in seconds:
        pieces["head"] = seconds["head"]
    else:
        pieces["RPN"] = seconds["RPN"]
        pieces["proposals"] = seconds["with proposals"] - seconds["RPN"]
        pieces["RoIAlign"] = seconds["RoIAlign"]
        pieces["box head"] = seconds["box convs"] + seconds["box outputs"]
    return {**pieces, "decoding, NMS, rest": whole - sum(pieces.values()), "whole": whole}


def modules(cfg, weights, args):
    evaluator = CandidateEvaluator(cfg, weights)
    evaluator.activate(evaluator.space.random(random.Random(0)))
    images = [x for batch in evaluator.held_out[0] for x in batch]
    size = tuple(images[0]["image"].shape[-2:])
    runs = {"plain": (in_batches(images, 1), torch.no_grad), "ours": (list(evaluator.held_out[0]), evaluator.inference)}
    found, watch = {name: [] for name in runs}, Stopwatch(modules_of(evaluator.model))
    evaluator.recalibrate()
    for _ in range(args.rounds + 1):
        for name, (batches, mode) in runs.items():
            watch.take()
            start = now()
            with mode():
                for batch in batches:
                    evaluator.model(batch)
            found[name].append(disjoint(watch.take(), now() - start))
    # The first round warms up.
    ms = {
        name: {piece: 1000 * statistics.median(r[piece] for r in rounds[1:]) / len(images) for piece in rounds[0]}
        for name, rounds in found.items()
    }
    costs = {name.split(",")[0]: cost["flops"] / 1e9 for name, cost in detector_costs(cfg, size).items()}
    rows = []
    for piece, ours in ms["ours"].items():
        rate = [f"{costs[piece]:.2f}", f"{costs[piece] / ours * 1000:.0f}"] if costs.get(piece) else ["", ""]
        rows.append([piece, f"{ms['plain'][piece]:.1f}", f"{ours:.1f}", f"{ours / ms['ours']['whole']:.0%}", *rate])
    return (
        f"    python benchmarks/passes.py --modules --config-file {args.config_file} --rounds {args.rounds}\n\n"
        f"Milliseconds an image of {size[0]}x{size[1]}, {len(images)} images, medians of {args.rounds} rounds.\n\n"
        + table(rows, ["", "plain", "ours", "share of ours", "G multiply-adds", "G/s of ours"])
    )


def main(args):
    with user_errors():
        cfg = with_settings(setup(args), {"SEARCH.RACING": False})
        weights = network_weights(args.config_file, cfg, args.opts)
    with only_warnings("detectron2", "fvcore", "detnas"):
        text = (modules if args.modules else options)(cfg, weights, args)
    show(text)


if __name__ == "__main__":
    arguments = argument_parser(__doc__)
    arguments.set_defaults(config_file="configs/demo/bccd_2_scratch.yaml")
    arguments.add_argument("--modules", action="store_true", help="where the time goes")
    arguments.add_argument("--paths", type=int, default=3, help="candidates")
    arguments.add_argument("--rounds", type=int, default=3, help="of --modules")
    main(arguments.parse_args())
