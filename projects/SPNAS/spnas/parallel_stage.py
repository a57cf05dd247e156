"""Copies of a stage beside the serial one, and what they give back to it (SP-NAS, the paper's parallel phase)."""

import copy
from typing import List, Optional

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, FrozenBatchNorm2d, get_norm
from fvcore.nn import weight_init
from torch import nn


class ParallelStage(nn.Module):
    """
    What is added to the input of a serial stage. The copies stand in rows beside the stage. Each takes the output of
    its row in the stage before, or where that ends the outermost one there is, and what the next row farther out has
    found: its output, by a 1x1 conv and nearest resize in the shape of the stage's input.

    Args:
        stage: the serial stage, an ``nn.Sequential``.
        channels: of its input and output.
        count: number of copies; with 0 the input is left as it is, and rows end here.
        next_count: copies of the stage behind.
        tied: whether the copies share the parameters of the stage, and their 1x1 convs one another's.
        norm: of the 1x1 convs, as Detectron2 names them.
    """

    def __init__(self, stage, channels, count, next_count, tied, norm):
        super().__init__()
        self.kept = min(count, next_count)
        fuse = _fusion(*channels, norm)
        # Both outermost first.
        self.rows = nn.ModuleList(_copy(stage, tied) for _ in range(count))
        self.fuse = nn.ModuleList(_copy(fuse, tied) for _ in range(count))

    def forward(self, x: torch.Tensor, rows: List[torch.Tensor]):
        """
        Args:
            x: what enters the stage, (N, C, H, W).
            rows: outputs of the copies of the stage before that have a row here, outermost first, each (N, C, H, W).

        Returns:
            the stage's input, (N, C, H, W), and a list like rows for the stage behind.
        """
        outputs: List[torch.Tensor] = []
        found: Optional[torch.Tensor] = None
        number = len(self.rows)
        for row, fuse in zip(self.rows, self.fuse):
            number -= 1
            source = rows[max(len(rows) - 1 - number, 0)] if len(rows) > 0 else x
            output = row(source if found is None else source + found)
            found = F.interpolate(fuse(output), size=x.shape[-2:], mode="nearest")
            if number < self.kept:
                outputs.append(output)
        return (x if found is None else x + found), outputs

    def freeze(self):
        """Nothing of it trains any more, as the stage itself."""
        for parameter in self.parameters():
            parameter.requires_grad = False
        FrozenBatchNorm2d.convert_frozen_batchnorm(self)


def _fusion(channels, out_channels, norm):
    conv = Conv2d(out_channels, channels, kernel_size=1, bias=False, norm=get_norm(norm, channels))
    weight_init.c2_msra_fill(conv)
    # The network starts as its serial one, exactly; this weight has a gradient from the first step on.
    nn.init.zeros_(conv.norm.weight)
    return conv


def _copy(original, tied):
    """A copy of a module, with statistics of its own and, where it is tied, the parameters of the original."""
    copied = copy.deepcopy(original)
    if tied:
        for module, own in zip(copied.modules(), original.modules()):
            for name, parameter in own.named_parameters(recurse=False):
                setattr(module, name, parameter)
    return copied
