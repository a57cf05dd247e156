#!/usr/bin/env python
"""
Time of a training step of a path of a supernet, on random pixels:

    python benchmarks/step.py [--rounds 9]    our blocks, and plain ones with the same weights, in turns
    python benchmarks/step.py --full [--rounds 9]       the paper's size, for a GPU: precisions and layouts
    python benchmarks/step.py --mixed [--rounds 9]      single networks and supernets, for a CPU: the same

A plain block follows the paper: shuffle channels, halve them, run the main branch, ReLU to a new tensor, concatenate.
"""

import itertools
import random
import statistics

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from tables import in_turns, now, parser, show, table
from torch import nn

import pretrained  # noqa: F401  it registers its keys
from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.launch.setup import fit_to_device
from detnas.modeling.choices import activate, choice_modules, is_supernet
from detnas.training.solver import build_optimizer
from detnas.training.speed import keep_memory
from detnas.training.step import StepTrainer

DETECTOR, CLASSIFIER = "configs/COCO/supernet_fpn_300M.yaml", "configs/ImageNet/supernet_300M.yaml"
#: images, their side
SIZES = ((8, 224), (4, 320), (16, 128))
PATHS = 3
#: config, images, height, width
FULL_SIZES = ((DETECTOR, 16, 800, 1333), (CLASSIFIER, 256, 224, 224), (CLASSIFIER, 1024, 224, 224))
LIGHT, MEDIUM = "configs/Pretrained/Base-light-FPN.yaml", "configs/Pretrained/Base-medium-FPN.yaml"
DEMO = "configs/demo/Base-bccd-FPN.yaml"
CPU_SIZES = ((LIGHT, 4, 192, 256), (MEDIUM, 4, 480, 480), (DEMO, 4, 240, 320), (CLASSIFIER, 8, 224, 224))
#: whether in mixed precision, layout
KINDS = {
    "fp32, NCHW": (False, torch.contiguous_format),
    "fp32, channels_last": (False, torch.channels_last),
    "mixed, NCHW": (True, torch.contiguous_format),
    "mixed, channels_last": (True, torch.channels_last),
}
BOXES = 7


class PlainUnit(nn.Module):
    """A :class:`detnas.modeling.blocks.ShuffleUnit` without care for speed; shares the weights of ``unit``."""

    def __init__(self, unit):
        super().__init__()
        self.proj, self.main = plain(unit.proj), plain(unit.main)

    def forward(self, x):
        if self.proj is not None:
            return torch.cat([self.proj(x), torch.relu(self.main(x))], dim=1)
        n, c, h, w = x.shape
        x = x.reshape(n, c // 2, 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        passing, x = x.chunk(2, dim=1)
        return torch.cat([passing, torch.relu(self.main(x))], dim=1)


def plain(branch):
    return branch and nn.Sequential(*(nn.ReLU() if isinstance(layer, nn.ReLU) else layer for layer in branch))


def build(config=CLASSIFIER, layout=torch.contiguous_format, plain_blocks=False, device="cpu"):
    """(model, optimizer, space); space is None unless the model is a supernet."""
    norm = ["MODEL.DETNAS.NORM", "BN"] if device == "cpu" else []
    cfg = load_config(config, ["MODEL.DEVICE", device, "MODEL.WEIGHTS", "", *norm])
    fit_to_device(cfg)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    for block in choice_modules(model).values() if plain_blocks else ():
        for index, unit in enumerate(block):
            block[index] = PlainUnit(unit)
    model.to(memory_format=layout)
    return model, build_optimizer(cfg, model), config_space(cfg) if is_supernet(model) else None


def batch_of(images, height, width, boxes=0):
    """Random uint8 images (3, height, width) as the data loader gives them, each with a label or with boxes."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, height, width), generator=generator, dtype=torch.uint8)
    if not boxes:
        return [{"image": image, "label": i % 1000} for i, image in enumerate(pixels)]
    batch = []
    for image in pixels:
        corner = torch.rand(boxes, 2, generator=generator) * 0.6
        side = torch.rand(boxes, 2, generator=generator) * 0.3 + 0.1
        found = Instances((height, width))
        found.gt_boxes = Boxes(torch.cat([corner, corner + side], dim=1) * torch.tensor([width, height] * 2))
        found.gt_classes = torch.randint(0, 80, (boxes,), generator=generator)
        batch.append({"image": image, "instances": found})
    return batch


def step(model, optimizer, space, batch, paths):
    for path in paths:
        activate(model, space, path)
        optimizer.zero_grad()
        # The same dropout for all.
        torch.manual_seed(0)
        loss = sum(model(batch).values())
        loss.backward()
        optimizer.step()
    return loss.item()


def times(rounds):
    """The table that compares our blocks with plain ones."""
    rows = []
    for images, side in SIZES:
        built = {
            "ours": build(layout=torch.channels_last),
            "our blocks in NCHW": build(),
            "plain": build(plain_blocks=True),
        }
        paths = [built["ours"][-1].random(random.Random(i)) for i in range(PATHS)]
        batch = batch_of(images, side, side)
        losses = [step(*one, batch, paths[:1]) for one in built.values()]
        assert max(losses) - min(losses) < 1e-3, losses
        seconds = in_turns({name: lambda one=one: step(*one, batch, paths) for name, one in built.items()}, rounds)
        ms = {name: 1000 * value / PATHS for name, value in seconds.items()}
        ratios = [f"{ms[name] / ms['plain']:.2f}" for name in ("ours", "our blocks in NCHW")]
        rows.append([f"{images} of {side}x{side}", *(f"{value:.0f}" for value in ms.values()), *ratios])
        print(rows[-1], flush=True)
    return table(rows, ["images", "ours ms", "ours in NCHW ms", "plain ms", "ours / plain", "in NCHW / plain"])


def blocks(args):
    text = (
        f"    python benchmarks/step.py --rounds {args.rounds}\n\n"
        'Supernet "300M" as a classifier, forward, backward and update of three paths in turns, medians. On a CPU the '
        f"training uses channels_last.\n\n{times(args.rounds)}"
    )
    show(text)


def measure(config, batch, amp, layout, steps, device):
    """(median seconds of a step, peak GB of GPU memory, seconds of the steps before)"""
    model, optimizer, space = build(config, layout, device=device)
    rng = random.Random(0)
    # cuDNN prepares each new op, which can take seconds.
    first = list(space.anchors().values()) if space else [None] * 2
    paths = [space.random(rng) if space else None for _ in range(steps)]
    trainer = StepTrainer(model, lambda start: itertools.repeat(batch), optimizer, amp=amp)
    gpu, seconds = device != "cpu", []
    with EventStorage() as trainer.storage:
        for trainer.iter, path in enumerate([*first, *paths]):
            if gpu and trainer.iter == len(first):
                torch.cuda.reset_peak_memory_stats()
            start = now()
            if space:
                activate(model, space, path)
            trainer.run_step()
            seconds.append(now() - start)
    memory = torch.cuda.max_memory_allocated() / 1e9 if gpu else float("nan")
    return statistics.median(seconds[len(first):]), memory, sum(seconds[:len(first)])


def full(args):
    rows = []
    if args.keep_memory:
        keep_memory()
    for config, *shape in CPU_SIZES if args.mixed else FULL_SIZES:
        images, height, width = (value // args.fraction for value in shape)
        batch = batch_of(images, height, width, 0 if config == CLASSIFIER else BOXES)
        what = f"{config}, {images} of {height}x{width}"
        for kind, (amp, layout) in KINDS.items():
            seconds, memory, first = measure(config, batch, amp, layout, args.rounds, args.device)
            figures = (1000 * seconds, images / seconds, memory, first)
            rows.append([what, kind, *(f"{figure:.1f}" for figure in figures)])
            print(*rows[-1], sep=" | ", flush=True)
    print(table(rows, ["images", "kind", "ms", "images a second", "GPU memory, GB", "first steps s"]))


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--full", action="store_true", help="the paper's size")
    arguments.add_argument("--mixed", action="store_true", help="precisions and layouts on a CPU")
    arguments.add_argument("--keep-memory", action="store_true", help="as a training on a CPU does")
    arguments.add_argument("--rounds", type=int, default=9, help="turns, or steps")
    arguments.add_argument("--device", default="cuda", help="of --full")
    arguments.add_argument("--fraction", type=int, default=1, help="of --full's images and sides, to try it")
    args = arguments.parse_args()
    args.device = "cpu" if args.mixed else args.device
    (full if args.full or args.mixed else blocks)(args)
