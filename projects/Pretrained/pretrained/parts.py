"""
Parts of networks of inverted residuals (MobileNetV2, Sec. 3; EfficientNet-Lite): fewer blocks of a stage, fewer hidden
channels, smaller kernels. A part has the first channels of the whole network, which are to be the most important ones,
and the inner part of a kernel (OFA, Cai et al., ICLR 2020, Sec. 3.3).
"""

from typing import Any, Dict, List, Sequence, Tuple

from detnas.compat import import_timm  # isort: skip  # first: it mends Detectron2 0.6
import torch
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from torch import nn

from detnas.errors import UserError


def take_part(network: nn.Module, depths: Sequence[int], expansions: Sequence[float], kernels: Sequence[int]) -> None:
    """
    Make a network of timm smaller, in place; weights become random.

    Args:
        network: with stages ``blocks``, each a sequence of blocks.
        depths: blocks of each stage that are left, the first ones; () for all.
        expansions: hidden channels of the blocks of each stage, in those of their input, at most; () for all.
        kernels: sides of the depthwise kernels of each stage, at most; () for what they are.

    Raises:
        UserError: if the network has no such stages, or not as many.
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
    Where the network that timm has under a name can become smaller.

    Returns:
        DEPTHS, EXPANSIONS and KERNELS of ``MODEL.TIMM`` for the whole network; and, of its stages of three blocks and
        more, ``MODEL.ELASTIC.CHOICES`` of fewer blocks, narrower and with smaller kernels. Both are empty if it is not
        one of inverted residuals alone.
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
        # It acts, too, so its activation is taken over.
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
    """
    Put the most important hidden channels of each inverted residual first, in place: those whose norm scales the most,
    times the size of their weights in the projection. What the network computes stays the same.
    """
    for block in network.modules():
        if isinstance(block, InvertedResidual):
            importance = block.bn2.weight.abs() * block.conv_pwl.weight.flatten(2).norm(dim=(0, 2))
            order = importance.argsort(descending=True, stable=True)
            for module in (block.conv_pw, block.bn1, block.conv_dw, block.bn2):
                for tensor in (*module.parameters(), *(b for b in module.buffers() if b.dim())):
                    tensor.copy_(tensor[order].clone())
            block.conv_pwl.weight.copy_(block.conv_pwl.weight[:, order].clone())
