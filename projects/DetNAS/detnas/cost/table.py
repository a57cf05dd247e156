"""
What a path costs. ``flops`` means multiply-adds, everywhere in this project: those of conv and linear layers for one
image; biases, batch norm, activations and pooling are not counted.
"""

import contextlib
import dataclasses
import functools
from collections import Counter
from dataclasses import dataclass
from typing import Tuple

import torch
from torch import nn

from detnas.modeling.backbone import DetNASSupernet


@contextlib.contextmanager
def count_flops(model):
    """
    Count the multiply-adds of every conv, transposed conv and linear layer that runs inside the context, also on
    torch's meta device.

    Yields:
        Counter: module -> multiply-adds, over all its calls.
    """
    flops = Counter()

    def count(module, inputs, output):
        if isinstance(module, nn.Linear):
            flops[module] += output.numel() * module.in_features
        else:
            # A transposed conv multiplies every input value, a conv makes every output value of a whole window.
            transposed = isinstance(module, nn.ConvTranspose2d)
            values, channels = (inputs[0], module.out_channels) if transposed else (output, module.in_channels)
            flops[module] += values.numel() * channels // module.groups * module.kernel_size[0] * module.kernel_size[1]

    counted = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))]
    hooks = [module.register_forward_hook(count) for module in counted]
    try:
        yield flops
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True)
class CostTable:
    """
    Multiply-adds and parameters of every op of every block, so that the cost of a path is a sum.

    ``table[metric][block][op]`` and ``stem[metric]``, with "backbone_flops" and "backbone_params" as metrics, and what
    :meth:`with_metric` adds.
    """

    space: object
    resolution: Tuple[int, int]
    stem: dict
    table: dict

    @classmethod
    def measure(cls, space, resolution=(224, 224)):
        """
        Measure a space on torch's meta device, one pass per op: exact, without any arithmetic, and only once.

        Args:
            space: a :class:`detnas.space.SearchSpace`.
            resolution: height and width of the image in pixels.
        """
        return _measure(space, tuple(resolution))

    def with_metric(self, metric, constant, table):
        """A copy that has another cost beside: a constant plus ``table[block][op]`` of each block."""
        return dataclasses.replace(self, stem={**self.stem, metric: constant}, table={**self.table, metric: table})

    def cost(self, metric, path) -> int:
        """Cost of a path by the metric's name."""
        return self.stem[metric] + sum(ops[op] for ops, op in zip(self.table[metric], path))

    def flops(self, path) -> int:
        """Multiply-adds of the backbone for one image."""
        return self.cost("backbone_flops", path)

    def params(self, path) -> int:
        """Parameters of the backbone."""
        return self.cost("backbone_params", path)

    def costs(self, path) -> dict:
        """All metrics of a path."""
        return {metric: self.cost(metric, path) for metric in self.table}

    def bounds(self, metric) -> Tuple[int, int]:
        """Smallest and largest value over all paths of the space; exact, because blocks add up."""
        stem, table = self.stem[metric], self.table[metric]
        return stem + sum(map(min, table)), stem + sum(map(max, table))


@functools.lru_cache(maxsize=None)
def _measure(space, resolution):
    with torch.device("meta"):
        supernet = DetNASSupernet(space).eval()
        image = torch.empty(1, 3, *resolution)
    with count_flops(supernet) as flops:
        for op in range(len(space.ops)):
            supernet.path = (op,) * space.num_blocks
            supernet(image)
    # Every op ran once; the stem ran in every pass.
    for module in supernet.stem.modules():
        if module in flops:
            flops[module] //= len(space.ops)
    measures = {
        "backbone_flops": lambda module: sum(flops[m] for m in module.modules() if m in flops),
        "backbone_params": lambda module: sum(p.numel() for p in module.parameters()),
    }
    stem = {name: measure(supernet.stem) for name, measure in measures.items()}
    table = {
        name: tuple(tuple(measure(op) for op in block) for block in supernet.choice_blocks())
        for name, measure in measures.items()
    }
    return CostTable(space, resolution, stem, table)
