"""Copies of stages, fused into the serial stream (SP-NAS, parallel phase). N images, C channels, H x W pixels."""

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
    Adds the fused output of a stage's copies to the stage's input. The copies stand in rows beside the stage.

    A copy takes the output of its row in the stage before, else of the outermost row there, else the stage's input. The
    fused output of the next copy outwards is added: a 1x1 conv and nearest resize to the shape of the stage's input.

    Args:
        stage: the serial stage, an ``nn.Sequential``.
        channels: of the stage's input and output.
        count: copies; with 0 the input stays as it is, and rows end here.
        next_count: copies of the next stage.
        tied: whether copies share the stage's parameters, and the 1x1 convs one another's.
        norm: of the 1x1 convs, as Detectron2 names it.
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
        Returns (input of the stage, rows for the next stage). ``x`` is the serial stream; ``rows`` are outputs of the
        previous stage's copies that have a row here, outermost first. All tensors are (N, C, H, W).
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
        """Freeze all parameters and norms, as Detectron2 does with the stage itself."""
        for parameter in self.parameters():
            parameter.requires_grad = False
        FrozenBatchNorm2d.convert_frozen_batchnorm(self)


def _fusion(channels, out_channels, norm):
    conv = Conv2d(out_channels, channels, kernel_size=1, bias=False, norm=get_norm(norm, channels))
    weight_init.c2_msra_fill(conv)
    # The network starts exactly as its serial one. This weight has a gradient from the first step.
    nn.init.zeros_(conv.norm.weight)
    return conv


def _copy(original, tied):
    """Copy a module with separate statistics; if tied, it shares the original's parameters."""
    copied = copy.deepcopy(original)
    if tied:
        for module, own in zip(copied.modules(), original.modules()):
            for name, parameter in own.named_parameters(recurse=False):
                setattr(module, name, parameter)
    return copied
