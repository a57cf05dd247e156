"""What a search leaves of its best candidate: best.yaml, its config, and best.pth, the weights of its evaluation."""

import functools
import os

import torch
from detectron2.utils.file_io import PathManager

from detnas.config.load import without_unused
from detnas.files import write_atomically
from detnas.launch.earlier_steps import BEST_CONFIG, BEST_WEIGHTS
from detnas.launch.setup import register_datasets


def write_best_config(cfg, folder, about):
    """
    Args:
        cfg: the config of the search with the candidate as its network. Changed in place.
        folder: of the search.
        about: comment at the head of the file.
    """
    # Both files together are all that the detector needs, without its data.
    cfg.MODEL.DETNAS.CLASSES = list(register_datasets(cfg) or ())
    cfg.MODEL.WEIGHTS = BEST_WEIGHTS
    cfg.SEARCH.WINNER = True
    cfg.OUTPUT_DIR = os.path.join(folder, "best")
    with PathManager.open(os.path.join(folder, BEST_CONFIG), "w") as f:
        f.write(about)
        f.write(without_unused(cfg).dump())


def write_best_weights(log, state_of):
    """
    Leave the best candidate's whole network beside the log: its weights as the search evaluated it, "model" of
    ``best.pth``, for everything that loads a trained network. A file that is of this candidate already is left alone.

    Args:
        log: the :class:`detnas.search.log.SearchLog` of a search.
        state_of: candidate's path -> state dict of its detector; called where it is needed.

    Returns:
        the file; None if no candidate has a score.

    Raises:
        OSError: if it cannot be written; the log is as it was, and so is a file from before.
    """
    if not log.best():
        return None
    best = log.best()[0]
    file = os.path.join(os.path.dirname(log.path), BEST_WEIGHTS)
    about = {
        "arch": log.space.format(best.path),
        "metrics": best.metrics,
        "weights_sha256": log.header.get("weights_sha256"),
    }
    if _found_as(file) == about:
        return file
    try:
        state = {name: value.cpu() for name, value in state_of(best.path).items()}
        write_atomically(PathManager, file, functools.partial(torch.save, {"model": state, "found": about}))
    except (OSError, RuntimeError) as e:
        reason = (str(e) or type(e).__name__).splitlines()[0]
        raise OSError(f"{file} cannot be written: {reason}; the log is whole, so start the search again for it") from e
    return file


def _found_as(file):
    """What a best.pth says of its candidate; None if there is none, or one that cannot be read."""
    try:
        with PathManager.open(file, "rb") as f:
            return torch.load(f, map_location="cpu", weights_only=True)["found"]
    except Exception:  # torch raises many kinds for broken files
        return None
