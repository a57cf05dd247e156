"""Builds networks from a config, as Detectron2 does, or by name."""

import os
import traceback
from typing import Optional

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone, build_model
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7
from torch import nn

from detnas.errors import UserError
from detnas.space import get_space
from detnas.zoo import PUBLISHED, SUPERNET

from .backbone import DetNASNet, DetNASSupernet


def build_network(cfg: CfgNode) -> nn.Module:
    """Detectron2's ``build_model``. Raises UserError if the config makes no network."""
    try:
        return build_model(cfg)
    except UserError:
        raise
    except Exception as e:  # Detectron2 asserts, indexes and looks up
        place = traceback.extract_tb(e.__traceback__)[-1]
        raise UserError(f"no network can be made of this config: {type(e).__name__} {e} "
                        f"({os.path.basename(place.filename)}, line {place.lineno}: {place.line})") from e


def build_published(name: str, **kwargs) -> DetNASNet:
    """Published network with random weights. ``kwargs`` go to :class:`DetNASNet`. Raises UserError for other names."""
    if name not in PUBLISHED:
        raise UserError(f'unknown network "{name}"; there are: {", ".join(PUBLISHED)}')
    network = PUBLISHED[name]
    return DetNASNet(get_space(network.space), network.arch, **kwargs)


@BACKBONE_REGISTRY.register()
def build_detnas_backbone(cfg: CfgNode, input_shape: Optional[ShapeSpec] = None) -> DetNASNet:
    """Network of ``MODEL.DETNAS.ARCH``: a supernet or a single network."""
    return (DetNASSupernet if cfg.MODEL.DETNAS.ARCH == SUPERNET else DetNASNet)(cfg, input_shape)


def build_fpn(cfg: CfgNode, bottom_up: Backbone, top_block: nn.Module) -> FPN:
    """FPN of a config on a backbone. The top block continues from its last level."""
    last = bottom_up.output_shape()[cfg.MODEL.FPN.IN_FEATURES[-1]]
    top_block.in_feature = f"p{last.stride.bit_length() - 1}"  # Detectron2 assumes p5, the last of four stages
    fpn = cfg.MODEL.FPN
    return FPN(bottom_up=bottom_up, in_features=fpn.IN_FEATURES, out_channels=fpn.OUT_CHANNELS, norm=fpn.NORM,
               top_block=top_block, fuse_type=fpn.FUSE_TYPE)


def build_retinanet_fpn(cfg: CfgNode, bottom_up: Backbone) -> FPN:
    """FPN of a RetinaNet on a backbone, with two more levels by convs from the last one."""
    channels = cfg.MODEL.FPN.OUT_CHANNELS
    return build_fpn(cfg, bottom_up, LastLevelP6P7(channels, channels, in_feature=""))


@BACKBONE_REGISTRY.register()
def build_detnas_fpn_backbone(cfg: CfgNode, input_shape: Optional[ShapeSpec] = None) -> FPN:
    """FPN for Faster R-CNN and similar detectors: levels p2..p5 of the stages, p6 by max-pooling."""
    return build_fpn(cfg, build_detnas_backbone(cfg, input_shape), LastLevelMaxPool())


@BACKBONE_REGISTRY.register()
def build_detnas_retinanet_fpn_backbone(cfg: CfgNode, input_shape: Optional[ShapeSpec] = None) -> FPN:
    """FPN for RetinaNet: p6 and p7 are convolved from p5, as in the released RetinaNet models."""
    return build_retinanet_fpn(cfg, build_detnas_backbone(cfg, input_shape))
