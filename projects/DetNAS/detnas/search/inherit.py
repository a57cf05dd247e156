"""A path of a search as a network of its own, with the weights it was evaluated with."""

import hashlib
import os

from detectron2.utils.file_io import PathManager

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.errors import UserError
from detnas.launch.earlier_steps import BEST_CONFIG, read_arch
from detnas.launch.machine import fit_to_device
from detnas.launch.setup import register_datasets
from detnas.zoo import SUPERNET

from .evaluator import build_candidate_evaluator
from .log import SearchLog


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
    copy = os.path.join(folder, BEST_CONFIG)
    if not config_file and not PathManager.isfile(copy):
        raise UserError(f"{copy} does not exist: name the config of the search with --config-file")
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
        raise UserError(f"{log.path} holds no {'score of ' + arch if arch else 'finished candidate yet'}")
    return found[0]


def weights_id(path):
    """The sha256 of a checkpoint, by which the log's header knows it; words for None, random weights."""
    if not path:
        return "random weights"
    digest = hashlib.sha256()
    with PathManager.open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def inherit_path(cfg, log, weights, path):
    """
    The state dict of a single network with the supernet's weights and batch-norm statistics of its own: those with
    which the search evaluated the path.

    Args:
        cfg, log: from :func:`search_config`.
        weights: checkpoint of the supernet; None for random weights by the seed.
        path: op indices.

    Raises:
        UserError: if the search ran with other weights.
    """
    given, logged = weights_id(weights), log.header.get("weights_sha256")
    if given != logged:
        raise UserError(f"{weights or 'random weights'}: the search ran with other weights (sha256 {logged})")
    return build_candidate_evaluator(cfg, weights).inherit(path)
