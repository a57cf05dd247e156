"""What a search leaves of a candidate, such as its best one: a config, and the weights of its evaluation beside it."""

import functools
import os

import torch
from detectron2.utils.file_io import PathManager

from detnas.config.load import without_unused
from detnas.errors import UserError
from detnas.files import write_atomically
from detnas.launch.earlier_steps import BEST_WEIGHTS
from detnas.launch.setup import register_datasets


def write_best_config(cfg, folder, about, name="best"):
    """
    Args:
        cfg: the config of the search with the candidate as its network. Changed in place.
        folder: of the file, ``name``.yaml; the weights are expected in ``name``.pth beside it.
        about: comment at the head of the file.
    """
    # Both files together are all that the detector needs, without its data.
    cfg.MODEL.DETNAS.CLASSES = list(register_datasets(cfg) or ())
    cfg.MODEL.WEIGHTS = f"{name}.pth"
    cfg.SEARCH.WINNER = True
    cfg.OUTPUT_DIR = os.path.join(folder, name)
    content = (about + without_unused(cfg).dump()).encode()
    write_atomically(PathManager, os.path.join(folder, f"{name}.yaml"), lambda f: f.write(content))


def write_best_weights(log, state_of):
    """
    Leave the best candidate's whole network beside the log, in ``best.pth``; see :func:`write_weights`.

    Returns:
        the file; None if no candidate has a score.
    """
    if not log.best():
        return None
    file = os.path.join(os.path.dirname(log.path), BEST_WEIGHTS)
    write_weights(log, log.best()[0], file, state_of)
    return file


def write_weights(log, candidate, file, state_of):
    """
    Write a candidate's whole network: its weights as the search evaluated it, "model" of the file, for everything that
    loads a trained network. A file that is of this candidate already is left alone.

    Args:
        log: the :class:`detnas.search.log.SearchLog` of a search.
        candidate: of the log.
        file: of PathManager.
        state_of: candidate's path -> state dict of its detector; called where it is needed.

    Returns:
        whether it was written.

    Raises:
        UserError: if it cannot be written; the log is as it was, and so is a file from before.
    """
    about = {
        "arch": log.space.format(candidate.path),
        "metrics": candidate.metrics,
        "weights_sha256": log.header.get("weights_sha256"),
    }
    if _found_as(file) == about:
        return False
    try:
        state = {name: value.cpu() for name, value in state_of(candidate.path).items()}
        write_atomically(PathManager, file, functools.partial(torch.save, {"model": state, "found": about}))
    except (OSError, RuntimeError) as e:
        reason = (str(e) or type(e).__name__).splitlines()[0]
        raise UserError(f"{file} cannot be written: {reason}; the log is whole: start the search again for it") from e
    return True


def _found_as(file):
    """What such a file says of its candidate; None if there is none, or one that cannot be read."""
    try:
        with PathManager.open(file, "rb") as f:
            return torch.load(f, map_location="cpu", weights_only=True)["found"]
    except Exception:  # torch raises many kinds for broken files
        return None
