#!/usr/bin/env python
"""
What the ways of the evaluator to be faster change in the scores, and what they save:

    python benchmarks/options.py [--config-file CONFIG] [--paths 4] [--write] [KEY VALUE ...]

All rows evaluate the same random paths of the supernet (MODEL.WEIGHTS, or what the config's training left). The first
row's passes are Detectron2's: image by image, norms unfolded, NCHW; the second is the evaluator as it comes; the others
have a setting more. The scores are compared with the first row's. On a GPU convs take TF32, as torch has it, but in the
row without.
"""

import contextlib
import io
import random
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from tables import now, publish, table, with_write

from detnas.command_line import argument_parser
from detnas.config.keys import config_space
from detnas.data.fixed_batches import in_batches
from detnas.errors import user_errors
from detnas.evaluation.evaluators import only_warnings
from detnas.launch.outputs import trained_weights
from detnas.launch.setup import setup
from detnas.search.evaluator import CandidateEvaluator

OPTIONS = {
    "as it comes": {},
    "CHANNELS_LAST True": {"CHANNELS_LAST": True},
    "AUTOCAST bf16": {"AUTOCAST": "bf16"},
    "both": {"CHANNELS_LAST": True, "AUTOCAST": "bf16"},
}


#: on a GPU only
NO_TF32 = "as it comes, no TF32"


class PlainEvaluator(CandidateEvaluator):
    """Our recalibration, Detectron2's plain inference."""

    def predict(self):
        self.metric.reset()
        with torch.no_grad():
            for inputs in in_batches([x for batch in self.held_out for x in batch], 1):
                self.metric.process(inputs, self.model(inputs))


def measure(evaluator, paths, metric):
    """(scores, median seconds of the recalibration, of the passes over the held-out images)"""
    scores, seconds = [], ([], [])
    evaluator(paths[0])  # decodes the images, warms up
    for path in paths:
        evaluator.supernet.path = path
        for step, times in zip((evaluator.recalibrate, evaluator.predict), seconds):
            start = now()
            step()
            times.append(now() - start)
        scores.append(evaluator.score()[metric])
    return scores, *map(statistics.median, seconds)


def evaluators(cfg, weights):
    """(name, evaluator), one after the other."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEARCH.update({"CHANNELS_LAST": False, "AUTOCAST": ""})
    yield "plain passes", PlainEvaluator(cfg, weights)
    for name, options in OPTIONS.items():
        changed = cfg.clone()
        changed.SEARCH.update(options)
        yield name, CandidateEvaluator(changed, weights)
    if cfg.MODEL.DEVICE.startswith("cuda"):
        torch.backends.cudnn.allow_tf32 = False
        yield NO_TF32, CandidateEvaluator(cfg, weights)


def main(args):
    with user_errors():
        cfg = setup(args)
        space, metric = config_space(cfg), cfg.SEARCH.METRIC
        weights = trained_weights(cfg, args.opts)
    paths = [space.random_path(random.Random(i)) for i in range(args.paths)]
    rows, plain = [], None
    with only_warnings("detectron2", "fvcore", "detnas"), contextlib.redirect_stdout(io.StringIO()):
        for name, evaluator in evaluators(cfg, weights):
            scores, recalibration, passes = measure(evaluator, paths, metric)
            plain = plain or scores
            changes = "  ".join(f"{score - other:+.4f}" for score, other in zip(scores, plain))
            del evaluator
            rows.append([name, f"{recalibration:.2f}", f"{passes:.2f}", changes])
    text = (
        f"    python benchmarks/options.py --config-file {args.config_file} --paths {args.paths}\n\n"
        f"{metric} of the paths with plain passes: {'  '.join(f'{score:.2f}' for score in plain)}.\n\n"
        + table(rows, ["evaluator", "recalibration s", "held-out images s", f"change of {metric}"])
    )
    publish("options", text, args.write)


if __name__ == "__main__":
    parser = with_write(argument_parser(__doc__))
    parser.set_defaults(config_file="configs/demo/bccd_2_scratch.yaml")
    parser.add_argument("--paths", type=int, default=4, help="candidates")
    main(parser.parse_args())
