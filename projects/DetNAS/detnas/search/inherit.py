"""A path of a search as a network of its own, with the weights it was evaluated with."""

import os

from detectron2.utils.file_io import PathManager

from detnas.config import config_space
from detnas.engine.evaluation import quiet
from detnas.engine.fit import fit_to_device
from detnas.engine.found import read_arch
from detnas.engine.setup import load_config, register_datasets
from detnas.modeling.weights import select_path
from detnas.zoo import SUPERNET

from .log import SearchLog
from .session import build_evaluator, weights_id


def search_config(folder, config_file="", opts=()):
    """
    The supernet's config of a search, fitted to this machine.

    Args:
        folder: of ``search.jsonl``.
        config_file: the search's own config; "" for the copy of it in ``best.yaml``.
        opts: KEY VALUE overrides.

    Returns:
        config, and the :class:`SearchLog`.
    """
    copy = os.path.join(folder, "best.yaml")
    if not config_file and not PathManager.isfile(copy):
        raise FileNotFoundError(f"{copy} does not exist: name the config of the search with --config-file")
    cfg = load_config(config_file or copy, opts)
    cfg.MODEL.DETNAS.ARCH = SUPERNET
    cfg.OUTPUT_DIR = folder
    log = SearchLog(folder, config_space(cfg))
    register_datasets(cfg)
    fit_to_device(cfg)
    return cfg, log


def logged_candidate(log, arch=""):
    """The candidate of the log with this arch, or the best one."""
    if arch:
        path = read_arch(arch, log.space, "--arch")
        found = [c for c in log.best(None) if c.path == path]
    else:
        found = log.best()
    if not found:
        raise ValueError(f"{log.path} holds no {'score of ' + arch if arch else 'finished candidate yet'}")
    return found[0]


def inherit_path(cfg, log, weights, path):
    """
    The state dict of a single network with the supernet's weights and batch-norm statistics of its own: those with
    which the search evaluated the path.

    Args:
        cfg, log: from :func:`search_config`.
        weights: checkpoint of the supernet; None for random weights by the seed.
        path: op indices.

    Raises:
        ValueError: if the search ran with other weights.
    """
    given, logged = weights_id(weights), log.header.get("weights_sha256")
    if given != logged:
        raise ValueError(f"{weights or 'random weights'}: the search ran with other weights (sha256 {logged})")
    evaluator = build_evaluator(cfg, weights)
    evaluator.supernet.path = path
    with quiet("detectron2", "fvcore"):
        evaluator.recalibrate()
    return select_path(evaluator.model.state_dict(), log.space, path)
