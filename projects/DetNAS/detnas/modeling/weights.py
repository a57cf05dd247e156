"""Reads, checks and loads state dicts."""

import logging
import os
import pickle
import warnings
from typing import Collection, Dict, List, Mapping

import torch
from detectron2.utils.file_io import PathManager
from torch import nn

from detnas.errors import UserError

from .backbone import SHUFFLE_KEY
from .foreign import of_backbone, read_zoo

logger = logging.getLogger(__name__)

BODY = "backbone.bottom_up."
#: parts of the classifier that detectors do not use
_CLASSIFIER_TAIL = ("backbone.last.", "linear.")


def read_checkpoint(path: str) -> Dict[str, torch.Tensor]:
    """Read weights from a ``.pth`` or a model zoo ``.pkl`` without running its code. Raises UserError without any."""
    try:
        local = PathManager.get_local_path(path)
    except Exception as e:  # many kinds, by what is between here and there
        raise UserError(f"weights {path} cannot be fetched ({type(e).__name__}): give a file on this machine") from None
    try:
        with open(local, "rb") as f, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on pickles of another version, which are refused
            data = read_zoo(f) if str(path).endswith(".pkl") else torch.load(f, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(
            f'weights {path} do not exist; the step before writes them, and MODEL.WEIGHTS "" starts from random ones'
        ) from None
    except Exception as e:  # torch raises many kinds for broken files and for forbidden pickles
        raise UserError(f"weights {path} cannot be read as a checkpoint: {_why_unreadable(local, e)}") from None
    data = data.get("model", data.get("state_dict", data)) if isinstance(data, dict) else None
    named = isinstance(data, dict) and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in data.items())
    if not (named and data):
        raise UserError(f"weights {path} are no state dict: expected names with tensors")
    return {key.removeprefix("module."): value for key, value in data.items()}


def _why_unreadable(path, error):
    if os.path.isdir(path):
        return "it is a folder"
    with open(path, "rb") as f:
        start = f.read(2)
    if not start or start != b"PK" and start[:1] != b"\x80":  # neither a zip (torch) nor a pickle
        return "it is no file of torch.save" if start else "it is empty"
    if isinstance(error, pickle.UnpicklingError) and "truncated" not in str(error):
        return (
            "it holds more than tensors, pickled Python objects which could run code and are therefore not read; load "
            "it where you trust it, and save its state dict alone with torch.save"
        )
    return "it is damaged, or was cut off when it was written or copied"


def load_weights(model: nn.Module, path: str, new_heads: bool = False) -> None:
    """
    Load a file of PathManager into a detector or classifier. Raises UserError if it is missing, is no checkpoint, or
    does not match; lists the first names that do not. Differences without an error are logged.

    Args:
        new_heads: for the start of a training: only the searched network must match. Other parts that are missing or
            have another shape start at random; unused weights are left out. Before that, plain ResNets of torchvision
            and the model zoo are renamed, and modules with ``complete(state_dict, prefix)`` add weights.
    """
    loaded, own = read_checkpoint(path), model.state_dict()
    if new_heads:
        loaded = of_backbone(loaded, BODY)
        before = len(loaded)
        for name, module in model.named_modules():
            if hasattr(module, "complete"):
                module.complete(loaded, f"{name}." if name else "")
        if len(loaded) > before:
            logger.info(f"{len(loaded) - before} names are not in the file, and are made from others")
    missing, unexpected, shapes = check_weights(path, loaded, own, BODY if new_heads else "")
    taken = {k: v for k, v in loaded.items() if k in own and k not in shapes}
    model.load_state_dict(taken, strict=False)
    what = f"{len(taken)} of the model's {len(own)} names" if missing or shapes else "the whole model"
    logger.info(f"Loaded {path}: {what}")
    tail = [key for key in unexpected if key.startswith(_CLASSIFIER_TAIL)]
    for what, keys in (
        ("start from random values", missing + shapes),
        ("of the file are not used (a classifier's tail)", tail),
        ("of the file are NOT USED: the model has no such part", [key for key in unexpected if key not in tail]),
    ):
        if keys:
            logger.info(f"{len(keys)} names {what}: {_some(keys)}")


def check_weights(path: str, state_dict: Mapping, own: Mapping, prefix: str = "") -> Collection[List[str]]:
    """
    Compare weights with the model's state dict ``own``. Returns the names that are missing, unknown, and of another
    shape. Raises UserError if one begins with ``prefix``, or if only one of two tensors of a name holds floats.
    """
    # Old files lack the split, frozen norms the counter. Some files have pixel statistics; those of the config hold.
    optional = (f".{SHUFFLE_KEY}", ".num_batches_tracked", "pixel_mean", "pixel_std")
    differences = {
        "names are missing in the file": [k for k in own if k not in state_dict and not k.endswith(optional)],
        "names of the file are unknown to the model":
            [k for k in state_dict if k not in own and not k.endswith(optional)],
        "shapes differ": [k for k in own if k in state_dict and own[k].shape != state_dict[k].shape],
    }
    if odd := [k for k in own if k in state_dict and own[k].is_floating_point() != state_dict[k].is_floating_point()]:
        raise UserError(f"weights {path} are damaged: {_some(odd)} {'are' if odd[1:] else 'is'} "
                        f"{state_dict[odd[0]].dtype}, not {own[odd[0]].dtype}")
    if any(key.startswith(prefix) for keys in differences.values() for key in keys):
        words = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in differences.items() if keys]
        raise UserError(f"weights {path} do not match the model: {'; '.join(words)}")
    return differences.values()


def _some(keys):
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
