#!/usr/bin/env python
"""
A candidate at the paper's size, for a GPU: images a second of its recalibration and of its evaluation in several
precisions and memory layouts, GPU memory, and how far AP moves:

    python demo/images.py wide
    python benchmarks/full_size.py [--arch ARCH] [--recalibration 500] [--held-out 1000] [--compile] [--write] \\
        [KEY VALUE ...]

The supernet of configs/COCO/supernet_fpn_300M.yaml: FPN, the 4conv1fc head on 1000 proposals, images of 800x1333, 8 at
once. MODEL.WEIGHTS may be a single network's, of the path ARCH, which is put into a random supernet; without any, the
APs mean nothing. The share is that of the rate at which the same device multiplies two large bf16 matrices.
"""

import itertools
import os
import tempfile

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.modeling import build_model
from tables import now, publish, table, with_write

from detnas.command_line import argument_parser
from detnas.config.keys import config_space
from detnas.cost.table import count_flops
from detnas.errors import user_errors
from detnas.evaluation.evaluators import only_warnings
from detnas.launch.setup import setup
from detnas.modeling.weights import insert_path
from detnas.search.evaluator import CandidateEvaluator

#: name -> (SEARCH settings, whether convs and matrix products may use TF32)
ROWS = {
    "fp32, no TF32": ({}, (False, False)),
    "as it comes (convs in TF32)": ({}, (True, False)),
    "TF32 in matrix products, too": ({}, (True, True)),
    "CHANNELS_LAST True": ({"CHANNELS_LAST": True}, (True, False)),
    "AUTOCAST bf16": ({"AUTOCAST": "bf16"}, (True, False)),
    "both": ({"CHANNELS_LAST": True, "AUTOCAST": "bf16"}, (True, False)),
}
COMPILED = "both, evaluation compiled"
#: settings of a config that trains and tests on the images of ``python demo/images.py wide``
WIDE_IMAGES = [
    word for key, split in (("TRAIN", "train"), ("TEST", "val"))
    for word in (f"DATASETS.{key}", f"('coco:datasets/wide/{split}.json:datasets/wide/{split}',)")
]
#: batches that warm up, and from which multiply-adds are counted
WARM_UP = 2


class CompiledEvaluator(CandidateEvaluator):
    """The backbone with its FPN, and the convs of the box head, compiled for the evaluation."""

    def predict(self):
        parts = [self.model.backbone, self.model.roi_heads.box_head]
        if not hasattr(self, "compiled"):
            self.compiled = [torch.compile(part.forward) for part in parts]
        for part, compiled in zip(parts, self.compiled):
            part.forward = compiled
        try:
            super().predict()
        finally:
            for part in parts:
                del part.forward


def matrix_rate(device, side):
    """Multiply-adds a second of a product of two random bf16 matrices."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    start = now()
    for _ in range(10):
        a @ b
    return 10 * side**3 / (now() - start)


def supernet_weights(cfg, path, folder):
    """File with a supernet that has the weights of MODEL.WEIGHTS in a path; None for random weights."""
    if not cfg.MODEL.WEIGHTS:
        return None
    single = torch.load(cfg.MODEL.WEIGHTS, weights_only=True)["model"]
    torch.manual_seed(0)
    state = build_model(cfg).state_dict()
    file = os.path.join(folder, "supernet.pth")
    torch.save({"model": insert_path(state, single, config_space(cfg), path)}, file)
    return file


def timed(step):
    """(seconds, GB of GPU memory at most)"""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    start = now()
    step()
    seconds = now() - start
    return seconds, torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else float("nan")


def measure(evaluator, path, recalibration, held_out):
    """A dict of what a row tells."""
    evaluator.supernet.path = path
    found = {}
    for step, name, batches in ((evaluator.recalibrate, "recalibration", recalibration),
                                (evaluator.predict, "held_out", held_out)):
        setattr(evaluator, name, batches[:WARM_UP])
        first, _ = timed(step)
        setattr(evaluator, name, batches)
        seconds, memory = timed(step)
        found[name] = {"first": first, "images a second": sum(map(len, batches)) / seconds, "GB": memory}
    found["metric"], _ = timed(lambda: found.update(AP=evaluator.score()["bbox/AP"]))
    return found


def count(evaluator, batches):
    """Multiply-adds of the evaluation of an image, with the proposals that there are."""
    evaluator.held_out = batches
    with count_flops(evaluator.model) as flops:
        evaluator.predict()
    return sum(flops.values()) / sum(map(len, batches))


def first_images(batches, images):
    """The first batches, with so many images in all."""
    images = min(images, sum(map(len, batches)))
    counts = itertools.accumulate(map(len, batches))
    return [batch for batch, so_far in zip(batches, counts) if so_far <= images]


def evaluators(cfg, weights, names):
    """(name, evaluator), one after the other."""
    for name in names:
        settings, (convs, products) = ROWS["both" if name == COMPILED else name]
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convs, products
        changed = cfg.clone()
        changed.defrost()
        changed.SEARCH.update(settings)
        yield name, (CompiledEvaluator if name == COMPILED else CandidateEvaluator)(changed, weights)


def main(args):
    with user_errors():
        cfg = setup(args)
        space = config_space(cfg)
        path = space.parse(args.arch)
    names = [*ROWS, *([COMPILED] if args.compile else [])]
    peak = matrix_rate(cfg.MODEL.DEVICE, args.matrix)
    print(f"bf16 matrix product: {peak / 1e12:.1f} T multiply-adds a second", flush=True)
    rows, batches, multiply_adds, plain = [], None, None, None
    with tempfile.TemporaryDirectory() as folder, only_warnings("detectron2", "fvcore", "detnas"):
        weights = supernet_weights(cfg, path, folder)
        for name, evaluator in evaluators(cfg, weights, names):
            if batches is None:
                # Decoded once, for all rows.
                batches = [first_images(list(fixed), images) for fixed, images in
                           ((evaluator.recalibration, args.recalibration), (evaluator.held_out, args.held_out))]
                evaluator.supernet.path, evaluator.recalibration = path, batches[0][:WARM_UP]
                evaluator.recalibrate()
                multiply_adds = count(evaluator, batches[1][:WARM_UP])
            found = measure(evaluator, path, *batches)
            del evaluator
            recalibration, held_out = found["recalibration"], found["held_out"]
            plain = found["AP"] if plain is None else plain
            share = multiply_adds * held_out["images a second"] / peak
            rows.append([
                name, f"{recalibration['images a second']:.1f}", f"{held_out['images a second']:.1f}",
                f"{recalibration['GB']:.1f}, {held_out['GB']:.1f}", f"{share:.1%}", f"{found['metric']:.2f}",
                f"{found['AP']:.2f}" if name == names[0] else f"{found['AP'] - plain:+.2f}",
            ])
            print(*rows[-1], f"first {recalibration['first']:.1f} {held_out['first']:.1f} s", sep=" | ", flush=True)
    counts = [sum(map(len, part)) for part in batches]
    headers = ["evaluator", "recalibration, images a second", "evaluation, images a second", "GPU memory of both, GB",
               "share of bf16 peak", "metric s", "AP, and its change"]
    text = (
        f"    python benchmarks/full_size.py --arch {args.arch} --recalibration {counts[0]} --held-out {counts[1]}"
        f"{' --compile' if args.compile else ''}{''.join(f' {word}' for word in args.own)}\n\n"
        f"{counts[0]} + {counts[1]} images, {multiply_adds / 1e9:.0f} G multiply-adds an image in the evaluation; "
        f"bf16 peak {peak / 1e12:.0f} T multiply-adds a second.\n\n" + table(rows, headers)
    )
    publish("full size", text, args.write)


if __name__ == "__main__":
    parser = with_write(argument_parser(__doc__))
    parser.set_defaults(config_file="configs/COCO/supernet_fpn_300M.yaml")
    parser.add_argument("--arch", default="2120-2112-33130031-3132", help="the path")
    parser.add_argument("--recalibration", type=int, default=500, help="images")
    parser.add_argument("--held-out", type=int, default=1000, help="images")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices of the bf16 peak")
    parser.add_argument("--compile", action="store_true", help="a row more, with torch.compile")
    args = parser.parse_args()
    args.own = args.opts
    args.opts = ["MODEL.WEIGHTS", "", *WIDE_IMAGES, "SOLVER.REFERENCE_WORLD_SIZE", "0", "DATALOADER.NUM_WORKERS",
                 str(min(12, os.cpu_count())), "OUTPUT_DIR", "output/full_size", *args.own]
    main(args)
