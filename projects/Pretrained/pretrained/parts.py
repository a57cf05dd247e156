"""
Parts of networks of inverted residuals (MobileNetV2, Sec. 3; EfficientNet-Lite): fewer blocks in a stage, the first
and most important hidden channels, the middle of kernels (OFA, Cai et al., ICLR 2020, Sec. 3.3).
"""

from typing import Any, Dict, List, Sequence, Tuple

from detnas.compat import import_timm  # isort: skip  # first: it mends Detectron2 0.6
import torch
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from torch import nn

from detnas.errors import UserError


def take_part(network: nn.Module, depths: Sequence[int], expansions: Sequence[float], kernels: Sequence[int]) -> None:
    """
    Make a network of timm smaller, in place. Changed layers get random weights.

    Args:
        network: with stages ``blocks``, each a sequence of blocks.
        depths: number of first blocks that each stage keeps; () for all.
        expansions: largest ratio of hidden to input channels in each stage; () for no limit.
        kernels: largest side of the depthwise kernels in each stage; () for no limit.

    Raises:
        UserError: if the network has another number of stages.
    """
    stages = list(getattr(network, "blocks", ()))
    for name, values in (("DEPTHS", depths), ("EXPANSIONS", expansions), ("KERNELS", kernels)):
        if values and len(values) != len(stages):
            raise UserError(f"MODEL.TIMM.{name} has {len(values)} values; the network has {len(stages)} stages of "
                            "blocks")
    for number, stage in enumerate(stages):
        if depths:
            del stage[depths[number]:]
        for block in stage:
            if expansions and isinstance(block, InvertedResidual):
                _narrow(block, expansions[number])
            if kernels and hasattr(block, "conv_dw"):
                side = min(kernels[number], *block.conv_dw.kernel_size)
                block.conv_dw = _conv(block.conv_dw, kernel_size=side)


def places(name: str) -> Tuple[Dict[str, List[int]], List[List[Any]]]:
    """
    Where a network of timm can become smaller: DEPTHS, EXPANSIONS and KERNELS of ``MODEL.TIMM`` for the whole network,
    and ``MODEL.ELASTIC.CHOICES`` of these and smaller values for its stages of three or more blocks. Both are empty
    unless all blocks are inverted residuals without squeeze-and-excitation.
    """
    stages = list(getattr(import_timm().create_model(name), "blocks", ()))
    blocks = [block for stage in stages for block in stage]
    if not blocks or any(type(block) not in (InvertedResidual, DepthwiseSeparableConv) or not isinstance(
            block.se, nn.Identity) for block in blocks):
        return {}, []
    whole = {
        "DEPTHS": [len(stage) for stage in stages],
        "EXPANSIONS": [max(_expansion(block) for block in stage) for stage in stages],
        "KERNELS": [max(block.conv_dw.kernel_size[0] for block in stage) for stage in stages],
    }
    smaller = {
        "DEPTHS": lambda depth: range(1, depth), "EXPANSIONS": lambda most: [most // 2, 2 * most // 3],
        "KERNELS": lambda side: range(3, side, 2),
    }
    choices = [[f"MODEL.TIMM.{key}.{number}", *smaller[key](most), most] for key, values in whole.items()
               for number, most in enumerate(values) if whole["DEPTHS"][number] > 2]
    return whole, [choice for choice in choices if len(choice) > 2]


def _expansion(block):
    return block.conv_pw.out_channels // block.conv_pw.in_channels if isinstance(block, InvertedResidual) else 1


def _narrow(block, expansion):
    channels = min(block.conv_pw.out_channels, round(expansion * block.conv_pw.in_channels))
    block.conv_pw = _conv(block.conv_pw, out_channels=channels)
    block.conv_dw = _conv(block.conv_dw, in_channels=channels, out_channels=channels, groups=channels)
    block.conv_pwl = _conv(block.conv_pwl, in_channels=channels)
    for name in ("bn1", "bn2"):
        norm = getattr(block, name)
        # timm's norm also holds the activation.
        smaller = type(norm)(channels, eps=norm.eps, momentum=norm.momentum)
        smaller.drop, smaller.act = norm.drop, norm.act
        setattr(block, name, smaller)


def _conv(conv, **changed):
    keys = "in_channels out_channels kernel_size stride padding dilation groups".split()
    values = {**{key: getattr(conv, key) for key in keys}, **changed}
    side = values["kernel_size"] if isinstance(values["kernel_size"], int) else values["kernel_size"][0]
    if conv.padding[0]:
        values["padding"] = (side - 1) // 2 * conv.dilation[0]
    return type(conv)(**values, bias=conv.bias is not None)


@torch.no_grad()
def sort_channels(network: nn.Module) -> None:
    """Sort hidden channels in place, largest norm scale x size of projection weights first. Outputs stay the same."""
    for block in network.modules():
        if isinstance(block, InvertedResidual):
            importance = block.bn2.weight.abs() * block.conv_pwl.weight.flatten(2).norm(dim=(0, 2))
            order = importance.argsort(descending=True, stable=True)
            for module in (block.conv_pw, block.bn1, block.conv_dw, block.bn2):
                for tensor in (*module.parameters(), *(b for b in module.buffers() if b.dim())):
                    tensor.copy_(tensor[order].clone())
            block.conv_pwl.weight.copy_(block.conv_pwl.weight[:, order].clone())
