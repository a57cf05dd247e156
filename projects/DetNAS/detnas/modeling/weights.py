"""State dicts: reading and checking."""

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
#: parts of the classifier that a detector has no use for
_CLASSIFIER_TAIL = ("backbone.last.", "linear.")


def read_checkpoint(path: str) -> Dict[str, torch.Tensor]:
    """
    Read a ``.pth`` file, or a ``.pkl`` of Detectron2's model zoo, without running any code from it: its "model" or
    "state_dict", or the whole file if it is a plain state dict. UserError if it is not there, or not a checkpoint.
    """
    try:
        local = PathManager.get_local_path(path)
    except Exception as e:  # many kinds, by what is between here and there
        raise UserError(f"weights {path} cannot be fetched ({type(e).__name__}): give a file on this machine") from None
    try:
        with open(local, "rb") as f, warnings.catch_warnings():
            # On pickles of another version, which are refused.
            warnings.simplefilter("ignore", UserWarning)
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
    # torch's files are zips, its older ones and Detectron2's .pkl are pickles.
    if not start or start != b"PK" and start[:1] != b"\x80":
        return "it is no file of torch.save" if start else "it is empty"
    if isinstance(error, pickle.UnpicklingError) and "truncated" not in str(error):
        return (
            "it holds more than tensors, pickled Python objects which could run code and are therefore not read; load "
            "it where you trust it, and save its state dict alone with torch.save"
        )
    return "it is damaged, or was cut off when it was written or copied"


def load_weights(model: nn.Module, path: str, new_heads: bool = False) -> None:
    """
    Load a checkpoint; what does not match is an error, or logged, never passed over.

    Args:
        model: a detector or classifier.
        path: a file of PathManager.
        new_heads: the start of a training. What stands outside the searched network may then be new, and the
            classifier's tail may be left over; both are logged. The file may also be that of a ResNet alone, of
            torchvision or the model zoo. A head whose shape changed (another number of classes)
            starts anew. The searched network itself must match in full, once a part of it with a method
            ``complete(state_dict, prefix)`` has added what it makes from other weights.

    Raises:
        UserError: if the file is not there or no checkpoint, or does not match; lists the first names that do not.
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
    Compare weights with ``own``, the state dict of the model that they are for.

    Returns:
        names that are missing in the weights, names that the model does not have, and names of another shape. UserError
        if any of them begins with ``prefix``, or weights are no real numbers.
    """
    # Old files do not say their split. Frozen batch norm counts no batches. Detectron2 writes the pixel statistics into
    # some checkpoints; the config's count.
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
