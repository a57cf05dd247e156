#!/usr/bin/env python
"""
A training step of a path (forward, backward, update) with our blocks and with plain ones, in turns, and the memory of a
supernet against that of the single network:

    python benchmarks/step.py [--rounds 9] [--write]

The plain block is the paper's text put down literally: shuffle the channels, halve them, run the main branch, a ReLU
that makes a new tensor, concatenate. Both have the same weights and loss; everything else is the training's own.
"""

import contextlib
import random

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.modeling import build_model
from tables import in_turns, parser, publish, table
from torch import nn

from detnas.config.load import load_config
from detnas.modeling.backbone import find_supernet
from detnas.modeling.blocks import ShuffleUnit
from detnas.training.solver import build_optimizer

#: images at once, their side
SIZES = ((8, 224), (4, 320), (16, 128))
PATHS = 3


class PlainUnit(nn.Module):
    """A :class:`ShuffleUnit` without any care for speed; shares the weights of one."""

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


def build(layout, use_plain_blocks):
    cfg = load_config("configs/ImageNet/supernet_300M.yaml", ["MODEL.DEVICE", "cpu", "MODEL.DETNAS.NORM", "BN"])
    torch.manual_seed(0)
    model = build_model(cfg).train()
    if use_plain_blocks:
        for block in find_supernet(model).choice_blocks():
            for i, unit in enumerate(block):
                assert isinstance(unit, ShuffleUnit)
                block[i] = PlainUnit(unit)
    model.to(memory_format=layout)
    return model, build_optimizer(cfg, model)


def batch_of(images, side):
    generator = torch.Generator().manual_seed(0)
    draw = torch.randint(0, 256, (images, 3, side, side), generator=generator, dtype=torch.uint8)
    return [{"image": image, "label": i} for i, image in enumerate(draw)]


def step(model, optimizer, batch, paths):
    for path in paths:
        find_supernet(model).path = path
        optimizer.zero_grad()
        # Dropout is the same for both.
        torch.manual_seed(0)
        loss = sum(model(batch).values())
        loss.backward()
        optimizer.step()
    return loss.item()


def times(rounds):
    rows = []
    for images, side in SIZES:
        parts = {
            "ours": build(torch.channels_last, False),
            "our blocks in NCHW": build(torch.contiguous_format, False),
            "plain": build(torch.contiguous_format, True),
        }
        space = find_supernet(parts["ours"][0]).space
        paths = [space.random_path(random.Random(i)) for i in range(PATHS)]
        batch = batch_of(images, side)
        losses = [step(*part, batch, paths[:1]) for part in parts.values()]
        assert max(losses) - min(losses) < 1e-3, losses
        seconds = in_turns({name: lambda part=part: step(*part, batch, paths) for name, part in parts.items()}, rounds)
        per_step = {name: 1000 * value / PATHS for name, value in seconds.items()}
        ratios = [f"{per_step[name] / per_step['plain']:.2f}" for name in ("ours", "our blocks in NCHW")]
        rows.append([f"{images} of {side}x{side}", *(f"{value:.0f}" for value in per_step.values()), *ratios])
        print(rows[-1], flush=True)
    headers = ["images", "ours ms", "ours in NCHW ms", "plain ms", "ours / plain", "in NCHW / plain"]
    return table(rows, headers)


@contextlib.contextmanager
def kept_for_backward():
    """The bytes of all tensors that the forward pass keeps, each storage counted once."""
    storages = {}

    def note(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield storages


def memory():
    """MB of a step of the supernet and of its path alone."""
    rows = []
    for name in ("supernet, one path", "single network"):
        model, _ = build(torch.channels_last, False)
        supernet = find_supernet(model)
        supernet.path = supernet.space.random_path(random.Random(0))
        if name == "single network":
            for block in supernet.choice_blocks():
                for i in range(len(block)):
                    block[i] = block[i] if i == block.choice else nn.Identity()
        parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
        with kept_for_backward() as storages:
            loss = sum(model(batch_of(8, 224)).values())
        loss.backward()
        kept = sum(size for pointer, size in storages.items() if pointer not in parameters)
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        gradients = sum(p.grad.numel() * p.grad.element_size() for p in model.parameters() if p.grad is not None)
        rows.append([name, *(f"{value / 1e6:.1f}" for value in (weights, gradients, kept))])
    return table(rows, ["8 of 224x224", "weights MB", "gradients MB", "kept for the backward pass MB"])


def main(args):
    text = (
        f"    python benchmarks/step.py --rounds {args.rounds}\n\n"
        'Supernet "300M" as a classifier, forward, backward and update of three paths in turns, medians. On a CPU the '
        f"training uses channels_last.\n\n{times(args.rounds)}\n\n"
        "The ops that a path leaves out cost memory for their weights (and, once they were trained, momentum), nothing "
        f"else: they have no gradients, and update, clipping and zeroing pass them over.\n\n{memory()}"
    )
    publish("step", text, args.write)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=9, help="turns")
    main(arguments.parse_args())
