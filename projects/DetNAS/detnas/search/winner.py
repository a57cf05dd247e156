"""Writes the config and the weights of winners: the best candidate and others of the front."""

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

#: folder of the front's winners, inside the search's folder
FRONT = "front"
#: points of the score that held-out images hardly tell apart
NEAR = 2.0


def write_best_config(cfg, folder, about, name="best"):
    """Write ``about`` and a candidate's ``cfg`` to ``name``.yaml; ``cfg`` changes, its weights are now ``name``.pth."""
    cfg.MODEL.DETNAS.CLASSES = list(register_datasets(cfg) or ())  # to run without the data sets
    cfg.MODEL.WEIGHTS = f"{name}.pth"
    cfg.SEARCH.WINNER = True
    cfg.OUTPUT_DIR = os.path.join(folder, name)
    write_text(os.path.join(folder, f"{name}.yaml"), about + without_unused(cfg).dump(), PathManager)


def write_best_weights(log, state_of):
    """Write the best candidate's network to ``best.pth`` beside the log; return whether there is one."""
    for candidate in log.best():
        write_weights(log, candidate, os.path.join(os.path.dirname(log.path), BEST_WEIGHTS), state_of)
    return bool(log.best())


def write_weights(log, candidate, file, state_of):
    """
    Write a candidate's whole network, as the search evaluated it, as "model" into ``file``, unless it is there already.
    ``state_of(path)`` returns the state dict. Returns whether it wrote; UserError if it cannot write.
    """
    about = {"arch": log.space.format(candidate.network), "metrics": candidate.metrics,
             "weights_sha256": log.header.get("weights_sha256")}
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
    """The description of the candidate in a file of weights; None without a readable one."""
    try:
        with PathManager.open(file, "rb") as f:
            return torch.load(f, map_location="cpu", weights_only=True)["found"]
    except Exception:  # torch raises many kinds for broken files
        return None


def choose_winners(front, costs, count):
    """
    Up to ``count`` candidates of a front (by ``front_of``): the best score, the one farthest from it in cost of those
    at most :data:`NEAR` worse, and then always the one farthest in cost from all chosen ones. What counts is the ratio
    of two costs, relative to the largest one on the front. Of equal costs one is chosen.
    """
    if not (front and count):
        return []
    points = np.log([[max(c.costs[name], 1e-9) for name in costs] for c in front])
    points = (points - points.min(0)) / np.where(np.ptp(points, 0), np.ptp(points, 0), 1)
    taken, near = [0], np.array([c.score >= front[0].score - NEAR for c in front])
    while len(taken) < min(count, len(front)):
        room = ((points[:, None] - points[taken]) ** 2).sum(2).min(1)
        if len(taken) == 1 and room[near].any():
            room *= near
        farthest = int(room.argmax())  # of equal ones the first, with the better score
        if not room[farthest]:
            break
        taken.append(farthest)
    return [front[t] for t in taken]


def write_front_winners(log, winners, write_config, state_of):
    """
    Write ``front/ARCH.yaml`` and ``front/ARCH.pth`` of each winner beside the log, and return the yaml files. Existing
    files stay. ``write_config(candidate, folder, name)`` writes a yaml, after the weights.
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
    """Lines for the user about the files of :func:`write_front_winners`, best score first; none without a file."""
    if files:
        yield "Of the front, spread over the cost, as ready to use as the best (docs/winner.md):"
    for candidate, file in sorted(zip(winners, files), key=lambda pair: -pair[0].score):
        shown = ", ".join(f"{name} {format_cost(name, candidate.costs[name])}" for name in costs)
        yield f"  {file}: {metric} {candidate.score:.2f}, {shown}"
