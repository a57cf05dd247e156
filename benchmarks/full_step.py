#!/usr/bin/env python
"""
A training step of a supernet at the paper's size, for a GPU: fp32 and mixed precision, both memory layouts, images a
second and GPU memory:

    python benchmarks/full_step.py [--steps 8] [--write]

Detectors take 16 images of 800x1333 with seven boxes each, classifiers 256 and 1024 of 224x224; random pixels, from
the main memory. The step is that of the training, with another random path each time; no data loader. Before those that
count, the networks of one op take a step each: cuDNN prepares what it has not run before, which can take seconds.
"""

import argparse
import itertools
import random
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from tables import now, parser, publish, table

from detnas.config.load import load_config
from detnas.data.loader import pack, unpack
from detnas.launch.setup import fit_to_device
from detnas.modeling.backbone import find_supernet
from detnas.space import single_op_paths
from detnas.training.solver import build_optimizer
from detnas.training.step import StepTrainer

DETECTOR, CLASSIFIER = "configs/COCO/supernet_fpn_300M.yaml", "configs/ImageNet/supernet_300M.yaml"
#: config, images, height, width
SIZES = ((DETECTOR, 16, 800, 1333), (CLASSIFIER, 256, 224, 224), (CLASSIFIER, 1024, 224, 224))
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
#: mixed precision, layout
KINDS = ((False, "NCHW"), (True, "NCHW"), (True, "channels_last"), (False, "channels_last"))
BOXES = 7


def batch_of(config, images, height, width, generator):
    """Random images as the data loader gives them."""
    pixels = torch.randint(0, 256, (images, 3, height, width), generator=generator, dtype=torch.uint8)
    if config == CLASSIFIER:
        return unpack(pack([{"image": image, "label": i % 1000} for i, image in enumerate(pixels)]))
    return unpack(pack([{"image": image, "instances": instances(height, width, generator)} for image in pixels]))


def instances(height, width, generator):
    """Boxes with sides from a tenth to two fifths of the image's, of random classes."""
    size = torch.tensor([width, height, width, height])
    corner = torch.rand(BOXES, 2, generator=generator) * 0.6
    side = torch.rand(BOXES, 2, generator=generator) * 0.3 + 0.1
    found = Instances((height, width))
    found.gt_boxes = Boxes(torch.cat([corner, corner + side], dim=1) * size)
    found.gt_classes = torch.randint(0, 80, (BOXES,), generator=generator)
    return found


def measure(config, batch, amp, layout, steps, device):
    """(median seconds of a step, GB of GPU memory at most, seconds of the steps before those that count)"""
    opts = ["MODEL.WEIGHTS", "", "MODEL.DEVICE", device, "SOLVER.AMP.ENABLED", amp]
    cfg = load_config(config, opts)
    fit_to_device(cfg)
    torch.manual_seed(0)
    model = build_model(cfg).train().to(memory_format=layout)
    supernet, rng = find_supernet(model), random.Random(0)
    first = list(single_op_paths(supernet.space).values())
    paths = iter([*first, *(supernet.space.random_path(rng) for _ in range(steps))])
    trainer = StepTrainer(
        model,
        lambda start: itertools.repeat(batch),
        build_optimizer(cfg, model),
        amp=amp,
        before_part=lambda part: setattr(supernet, "path", next(paths)),
    )
    gpu = torch.cuda.is_available() and device != "cpu"
    seconds = []
    with EventStorage() as trainer.storage:
        for trainer.iter in range(len(first) + steps):
            if gpu and trainer.iter == len(first):
                torch.cuda.reset_peak_memory_stats()
            start = now()
            trainer.run_step()
            seconds.append(now() - start)
    memory = torch.cuda.max_memory_allocated() / 1e9 if gpu else float("nan")
    return statistics.median(seconds[len(first):]), memory, sum(seconds[:len(first)])


def main(args):
    rows = []
    for config, images, height, width in SIZES[: args.sizes]:
        images, height, width = (value // args.fraction for value in (images, height, width))
        batch = batch_of(config, images, height, width, torch.Generator().manual_seed(0))
        what = f"{'detector' if config == DETECTOR else 'classifier'}, {images} of {height}x{width}"
        for amp, name in KINDS[: args.kinds]:
            try:
                seconds, memory, first = measure(config, batch, amp, LAYOUTS[name], args.steps, args.device)
            except torch.cuda.OutOfMemoryError:
                result = ["out of memory", "", "", ""]
            else:
                result = [f"{1000 * seconds:.0f}", f"{len(batch) / seconds:.1f}", f"{memory:.1f}", f"{first:.1f}"]
            torch.cuda.empty_cache()
            rows.append([what, "mixed" if amp else "fp32", name, *result])
            print(*rows[-1], sep=" | ", flush=True)
    headers = ["images", "precision", "layout", "ms", "images a second", "GPU memory, GB", "first steps s"]
    text = f"    python benchmarks/full_step.py --steps {args.steps} --kinds {args.kinds}\n\n{table(rows, headers)}"
    publish("full step", text, args.write)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=8, help="that count")
    arguments.add_argument("--kinds", type=int, default=len(KINDS), help="rows of a size; the last is the slowest")
    arguments.add_argument("--device", default="cuda")
    # To try this benchmark itself on next to nothing.
    arguments.add_argument("--fraction", type=int, default=1, help=argparse.SUPPRESS)
    arguments.add_argument("--sizes", type=int, default=len(SIZES), help=argparse.SUPPRESS)
    main(arguments.parse_args())
