"""The config keys of networks of timm, and the pixel statistics of their pre-training."""

import difflib
import importlib.util
from typing import Any, Dict

from yacs.config import CfgNode

from detnas.config.settings import NON_NEGATIVE, POSITIVE, RULES, one_of
from detnas.errors import UserError


def add_timm_config(cfg: CfgNode) -> None:
    """Add the keys to a config that has DetNAS's keys, in place."""
    CN = type(cfg)
    cfg.MODEL.TIMM = CN()
    # A network of timm, for the backbones build_timm_fpn_backbone and build_timm_retinanet_fpn_backbone.
    cfg.MODEL.TIMM.NAME = "tf_efficientnet_lite0"
    # Weights to start from, without MODEL.WEIGHTS: "pretrained" (from an installed package or timm's hub), "" (random),
    # or a file of torch.save with the network's state dict.
    cfg.MODEL.TIMM.WEIGHTS = "pretrained"
    # Freeze everything up to the feature of stride 2 ** FREEZE_AT, its norms too; 0: nothing.
    cfg.MODEL.TIMM.FREEZE_AT = 2
    # "FrozenBN": batch norms keep statistics and weights of the pre-training. "BN": they are trained.
    cfg.MODEL.TIMM.NORM = "FrozenBN"
    # Limits for each stage of inverted residuals: blocks, hidden / input channels, side of kernels; empty: none.
    cfg.MODEL.TIMM.DEPTHS = []
    cfg.MODEL.TIMM.EXPANSIONS = []
    cfg.MODEL.TIMM.KERNELS = []
    # Learning rate of the backbone relative to SOLVER.BASE_LR.
    cfg.MODEL.TIMM.LR_FACTOR = 1.0


RULES.update({
    "MODEL.TIMM.NORM": one_of("FrozenBN", "BN"),
    "MODEL.TIMM.FREEZE_AT": NON_NEGATIVE,
    "MODEL.TIMM.LR_FACTOR": POSITIVE,
})


def uses_timm(cfg: CfgNode) -> bool:
    return cfg.MODEL.BACKBONE.NAME.startswith("build_timm_")


def pretrained_config(name: str) -> Dict[str, Any]:
    """timm's record of a pre-training: "mean" and "std" of RGB in 0..1, "license", ... UserError if there is none."""
    if importlib.util.find_spec("timm") is None:
        raise UserError("MODEL.BACKBONE.NAME build_timm_...: timm is not installed; `uv pip install timm`")
    # Not at the top: to show a log must not wait for torch.
    from detnas.compat import import_timm

    timm = import_timm()
    if not timm.is_model(name.partition(".")[0]) or timm.get_pretrained_cfg(name) is None:
        near = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5))
        raise UserError(f"MODEL.TIMM.NAME {name} is no network of timm{f'; most alike are {near}' if near else ''}")
    return timm.get_pretrained_cfg(name).to_dict()


def fit_pixels(cfg: CfgNode) -> None:
    """
    Give a config that uses timm the channel order, mean and deviation of pixels of the pre-training, in place. Lite0
    names 0.68 of photographs of ImageNet's classes right with RGB, and 0.17 with BGR.
    """
    if uses_timm(cfg):
        known = pretrained_config(cfg.MODEL.TIMM.NAME)
        cfg.INPUT.FORMAT = "RGB"
        cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = ([255 * value for value in known[key]] for key in ("mean", "std"))
