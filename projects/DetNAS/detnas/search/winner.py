"""What a search leaves of candidates, the best and others of its front: a config, and its weights beside it."""

import functools
import os

import numpy as np
import torch
from detectron2.utils.file_io import PathManager

from detnas.config.constraint import format_cost
from detnas.config.load import without_unused
from detnas.errors import UserError
from detnas.files import write_atomically, write_text
from detnas.launch.outputs import BEST_WEIGHTS
from detnas.launch.setup import register_datasets

#: folder of the winners of a front, in that of the search
FRONT = "front"


def write_best_config(cfg, folder, about, name="best"):
    """
    Write ``name``.yaml into a folder, for weights in ``name``.pth beside it: below the comment ``about`` the config of
    the search with the candidate as its network, which is changed in place.
    """
    # Both files together are all that the detector needs, without its data.
    cfg.MODEL.DETNAS.CLASSES = list(register_datasets(cfg) or ())
    cfg.MODEL.WEIGHTS = f"{name}.pth"
    cfg.SEARCH.WINNER = True
    cfg.OUTPUT_DIR = os.path.join(folder, name)
    write_text(os.path.join(folder, f"{name}.yaml"), about + without_unused(cfg).dump(), PathManager)


def write_best_weights(log, state_of):
    """
    Leave the best candidate's whole network beside the log, in ``best.pth``; see :func:`write_weights`. Returns whether
    there is one, with a score.
    """
    for candidate in log.best():
        write_weights(log, candidate, os.path.join(os.path.dirname(log.path), BEST_WEIGHTS), state_of)
    return bool(log.best())


def write_weights(log, candidate, file, state_of):
    """
    Write a candidate's whole network: its weights as the search evaluated it, "model" of the file, for everything that
    loads a trained network. A file that is of this candidate already is left alone.

    Args:
        state_of: candidate's path -> state dict of its detector; called where it is needed.

    Returns:
        whether it was written.
    """
    about = {
        "arch": log.space.format(candidate.network),
        "metrics": candidate.metrics,
        "weights_sha256": log.header.get("weights_sha256"),
    }
    if _found_as(file) == about:
        return False
    try:
        state = {name: value.cpu() for name, value in state_of(candidate.network).items()}
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


def choose_winners(front, costs, count):
    """
    Candidates spread over the costs: the best score first, then always the one whose costs are the farthest from those
    of all taken before, so the second is most often the cheapest. Each cost counts by its share of the range on the
    front, a list as :func:`detnas.search.pareto.front_of` gives it. Fewer where fewer differ in a cost.
    """
    if not (front and count):
        return []
    points = np.array([[c.costs[name] for name in costs] for c in front], float)
    points = (points - points.min(0)) / np.where(np.ptp(points, 0), np.ptp(points, 0), 1)
    taken = [0]
    while len(taken) < min(count, len(front)):
        room = ((points[:, None] - points[taken]) ** 2).sum(2).min(1)
        # The first one of several: that with the better score.
        farthest = int(room.argmax())
        if not room[farthest]:
            break
        taken.append(farthest)
    return [front[t] for t in taken]


def write_front_winners(log, winners, write_config, state_of):
    """
    Leave ``front/ARCH.yaml`` and ``front/ARCH.pth`` of each beside the log. Files that stand are left alone, those of
    earlier fronts too; a yaml, by ``write_config(candidate, folder, name)``, stands only where its weights do.

    Returns:
        list of the yaml files.
    """
    folder, files = os.path.join(os.path.dirname(log.path), FRONT), []
    PathManager.mkdirs(folder)
    for candidate in winners:
        name = log.space.format(candidate.network)
        weights, config = (os.path.join(folder, name + ending) for ending in (".pth", ".yaml"))
        if write_weights(log, candidate, weights, state_of) or not PathManager.isfile(config):
            write_config(candidate, folder, name)
        files.append(config)
    return files


def describe_winners(winners, files, metric, costs):
    """Lines for the user about what :func:`write_front_winners` wrote, best score first; none without a file."""
    if files:
        yield "Of the front, spread over the cost, as ready to use as the best (docs/winner.md):"
    for candidate, file in sorted(zip(winners, files), key=lambda pair: -pair[0].score):
        shown = ", ".join(f"{name} {format_cost(name, candidate.costs[name])}" for name in costs)
        yield f"  {file}: {metric} {candidate.score:.2f}, {shown}"
