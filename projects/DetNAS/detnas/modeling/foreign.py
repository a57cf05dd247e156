"""Weights as others write them, under the names of Detectron2's ResNets, which are those of SP-NAS's networks, too."""

import pickle
import re
from typing import IO, Dict

import numpy as np
import torch
from detectron2.checkpoint.c2_model_loading import convert_c2_detectron_names

from detnas.errors import UserError

#: all that a file of Detectron2's model zoo needs beside plain values
_HARMLESS = {
    *((module, name) for module in ("numpy.core.multiarray", "numpy._core.multiarray")
      for name in ("_reconstruct", "scalar")),
    *(("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode")),
}
#: what Detectron2 takes a frozen batch norm's variance for where it is 1
_VARIANCE = 1 - 1e-5


class _Arrays(pickle.Unpickler):
    """Reads a pickle of arrays; anything else could run code."""

    def find_class(self, module, name):
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it holds {module}.{name}")
        return super().find_class(module, name)


def read_zoo(file: IO[bytes]) -> Dict[str, torch.Tensor]:
    """
    The weights in a ``.pkl`` of Detectron2's model zoo, of Detectron2 itself or of Caffe2. ``pickle.UnpicklingError``
    if it holds more than arrays.
    """
    data = _Arrays(file, encoding="latin1").load()
    caffe2 = "__author__" not in data
    weights = data.get("blobs", data) if caffe2 else data["model"]
    state = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()
             if isinstance(value, np.ndarray) and not name.endswith("_momentum")}
    if not caffe2:
        return state
    state = convert_c2_detectron_names(state)[0]
    for name in [name for name in state if name.endswith(".norm.weight")]:
        # Caffe2 has folded them into scale and shift.
        stem = name.removesuffix("weight")
        state[f"{stem}running_mean"] = torch.zeros_like(state[name])
        state[f"{stem}running_var"] = torch.full_like(state[name], _VARIANCE)
    return state


def of_backbone(state: Dict[str, torch.Tensor], prefix: str) -> Dict[str, torch.Tensor]:
    """Weights of a ResNet alone, of torchvision or the model zoo, as those of a detector's backbone; others as are."""
    if "layer1.0.conv1.weight" in state:
        state = from_torchvision(state)
    if not any(name.startswith("stem.conv1.") for name in state):
        return state
    return {prefix + name: value for name, value in state.items() if re.match(r"(stem|res\d)\.", name)
            and not name.startswith("stem.fc.")}


def from_torchvision(state_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
    """
    The weights of Detectron2's ResNet with ``STRIDE_IN_1X1`` off, and of the :class:`spnas.SPNet`, that is a
    torchvision network: of resnet50 for the code "111-2111-211111-211" with bottlenecks, of resnet18 for "11-21-21-21"
    with basic blocks, of resnext50_32x4d for the former with blocks "32x4d"; stem "7x7". Such networks take RGB images.
    The linear layer is left out. UserError if the weights are of another kind of network.
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
