"""Weights of torchvision's ResNets and ResNeXts under the names of ours."""

import re
from typing import Dict

import torch

from detnas.errors import UserError


def from_torchvision(state_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
    """
    The weights of the :class:`spnas.SPNet` that is a torchvision network: of resnet50 for the code
    "111-2111-211111-211" with bottlenecks, of resnet18 for "11-21-21-21" with basic blocks, of resnext50_32x4d for the
    former with blocks "32x4d"; stem "7x7". Such networks take RGB images.

    Args:
        state_dict: of a ``torchvision.models.ResNet``; its linear layer is left out.

    Raises:
        UserError: if it is of another kind of network.
    """
    return {_ours(name): value for name, value in state_dict.items() if not name.startswith("fc.")}


def _ours(name):
    found = re.fullmatch(r"(?:layer(\d)\.(\d+)\.)?(?:(conv|bn)(\d)|downsample\.([01]))\.(\w+)", name)
    if not found or not found[1] and found[4] != "1":
        raise UserError(f"{name} is no weight of a torchvision ResNet")
    stage, block, kind, number, shortcut, last = found.groups()
    place = f"res{int(stage) + 1}.{block}" if stage else "stem"
    norm = ".norm" if kind == "bn" or shortcut == "1" else ""
    return f"{place}.{f'conv{number}' if kind else 'shortcut'}{norm}.{last}"
