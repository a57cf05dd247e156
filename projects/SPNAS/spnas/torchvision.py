"""Weights of torchvision's ResNets and ResNeXts under the names of ours."""

import re

from detnas.errors import UserError

_STEM = {"conv1": "stem.conv1", "bn1": "stem.conv1.norm"}


def from_torchvision(state_dict):
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
    parts = name.split(".")
    stage = re.fullmatch(r"layer(\d)", parts[0])
    if not stage and parts[0] in _STEM:
        return ".".join((_STEM[parts[0]], *parts[1:]))
    if stage and len(parts) > 3 and parts[2] == "downsample":
        place = ("shortcut", *(["norm"] if parts[3] == "1" else []), *parts[4:])
    elif stage and len(parts) > 3 and re.fullmatch(r"(conv|bn)\d", parts[2]):
        place = (f"conv{parts[2][-1]}", *(["norm"] if parts[2].startswith("bn") else []), *parts[3:])
    else:
        raise UserError(f"{name} is no weight of a torchvision ResNet")
    return ".".join((f"res{int(stage[1]) + 1}", parts[1], *place))
