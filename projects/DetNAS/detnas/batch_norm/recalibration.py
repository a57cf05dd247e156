"""Recalibrates the batch-norm statistics of a path (paper, Sec. 3.2, step 3)."""

import logging
import random
from typing import Collection, Dict, List

import torch
from detectron2.config import CfgNode
from detectron2.data import get_detection_dataset_dicts
from detectron2.layers import CycleBatchNormList
from detectron2.utils.events import EventStorage
from fvcore.nn.precise_bn import BN_MODULE_TYPES, update_bn_stats
from torch import nn

from detnas.data.fixed_batches import FixedBatches, in_batches
from detnas.data.mapper import build_recalibration_mapper, is_classifier
from detnas.errors import UserError
from detnas.modeling.choices import inactive_modules

logger = logging.getLogger(__name__)


def recalibrate_bn(model: nn.Module, batches: Collection[List[Dict]], seed: int = 0) -> None:
    """
    Replace the batch-norm statistics of the active path, which mix all paths after supernet training, by statistics
    pooled over ``batches``. All norms on the path take part (backbone, FPN, heads), and ops outside it stay unchanged.
    ``seed`` fixes RoI sampling, random in training mode. Raises a UserError if a norm runs more than once in a pass.

    Args:
        model: a detector or classifier, with a candidate active if it holds several. It is faster inside a
            :class:`detnas.batch_norm.forward_to_last_norm.ForwardToLastNorm`. Left in eval mode.
        batches: each a list of dicts with "image", (C, H, W) for channels, height and width, and labels.
    """
    model.train()
    reset_cycle_norms(model)
    for module in inactive_modules(model):  # update_bn_stats would zero the statistics of layers that never run
        module.eval()
    norms = [(m, m.momentum, list(m._forward_pre_hooks)) for m in model.modules() if isinstance(m, BN_MODULE_TYPES)]
    device = next(model.parameters()).device
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), EventStorage():
            torch.manual_seed(seed)
            update_bn_stats(model, batches, len(batches))
    except AssertionError as e:
        if "reused" not in str(e):
            raise
        raise UserError(
            "a batch norm runs more than once in a pass, as naiveSyncBN does in MODEL.RETINANET.NORM, and its "
            "statistics cannot be recalibrated: use BN or SyncBN, which RetinaNet gives to each level, GN, or none"
        ) from None
    finally:
        for norm, momentum, hooks in norms:  # fvcore leaves its momentum and hooks behind when a pass fails
            norm.momentum = momentum
            for hook in set(norm._forward_pre_hooks) - set(hooks):
                del norm._forward_pre_hooks[hook]
        model.eval()


def reset_cycle_norms(model: nn.Module) -> None:
    """Reset the call counters of RetinaNet's norms (one for each level), which a pass that ended early leaves wrong."""
    for module in model.modules():
        if isinstance(module, CycleBatchNormList):
            module._pos = 0


def build_recalibration_batches(cfg: CfgNode) -> FixedBatches:
    """Return batches of ``SEARCH.RECALIBRATION_IMAGES`` training images (all, if fewer), drawn by ``SEED``."""
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty: its images give candidates their batch-norm statistics")
    dicts = get_detection_dataset_dicts(cfg.DATASETS.TRAIN)
    count = cfg.SEARCH.RECALIBRATION_IMAGES
    if count > len(dicts):
        logger.info(f"Recalibration takes all {len(dicts)} training images; SEARCH.RECALIBRATION_IMAGES is {count}.")
        count = len(dicts)
    dicts = random.Random(f"recalibration {max(cfg.SEED, 0)}").sample(dicts, count)
    if not is_classifier(cfg):
        dicts.sort(key=lambda d: d["width"] / d["height"])  # like shapes together, because padding counts
    return FixedBatches(
        in_batches(dicts, cfg.SEARCH.RECALIBRATION_BATCH),
        build_recalibration_mapper(cfg),
        cfg.SEARCH.IMAGE_CACHE_GB * 1e9,
        cfg.DATALOADER.NUM_WORKERS,
    )
