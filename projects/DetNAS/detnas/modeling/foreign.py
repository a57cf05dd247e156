"""Weights of other projects, renamed as in Detectron2's ResNets and SP-NAS's networks."""

import pickle
import re
from typing import IO, Dict

import numpy as np
import torch
from detectron2.checkpoint.c2_model_loading import convert_c2_detectron_names

from detnas.errors import UserError

#: what a pickle of Detectron2's model zoo may use beside plain values
_HARMLESS = {
    *((module, name) for module in ("numpy.core.multiarray", "numpy._core.multiarray")
      for name in ("_reconstruct", "scalar")),
    *(("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode")),
}
#: running variance that has no effect in Detectron2's frozen batch norm, whose eps is 1e-5
_VARIANCE = 1 - 1e-5


class _Arrays(pickle.Unpickler):
    """Unpickles arrays only, since other objects could run code."""

    def find_class(self, module, name):
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it holds {module}.{name}")
        return super().find_class(module, name)


def read_zoo(file: IO[bytes]) -> Dict[str, torch.Tensor]:
    """Weights of a model zoo ``.pkl``, of Detectron2 or Caffe2. Raises pickle.UnpicklingError for other objects."""
    data = _Arrays(file, encoding="latin1").load()
    caffe2 = "__author__" not in data
    weights = data.get("blobs", data) if caffe2 else data["model"]
    state = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()
             if isinstance(value, np.ndarray) and not name.endswith("_momentum")}
    if not caffe2:
        return state
    state = convert_c2_detectron_names(state)[0]
    for name in [name for name in state if name.endswith(".norm.weight")]:  # Caffe2 folds statistics into them
        stem = name.removesuffix("weight")
        state[f"{stem}running_mean"] = torch.zeros_like(state[name])
        state[f"{stem}running_var"] = torch.full_like(state[name], _VARIANCE)
    return state


def of_backbone(state: Dict[str, torch.Tensor], prefix: str) -> Dict[str, torch.Tensor]:
    """Rename weights of a plain ResNet (torchvision, model zoo) as in a detector's backbone. Others stay unchanged."""
    if "layer1.0.conv1.weight" in state:
        state = from_torchvision(state)
    if not any(name.startswith("stem.conv1.") for name in state):
        return state
    return {prefix + name: value for name, value in state.items() if re.match(r"(stem|res\d)\.", name)
            and not name.startswith("stem.fc.")}


def from_torchvision(state_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
    """
    Rename a torchvision ResNet's weights, for RGB images, as in Detectron2's ResNet with ``STRIDE_IN_1X1`` off and in
    :class:`spnas.SPNet` with stem "7x7". Its code is "111-2111-211111-211" for resnet50 (bottlenecks) and
    resnext50_32x4d (blocks "32x4d"), "11-21-21-21" for resnet18 (basic blocks). The linear layer is left out. Raises
    UserError for other networks.
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
