"""Registers SP-NAS networks with Detectron2, alone and with an FPN; builds published networks by name."""

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from detnas.modeling.builders import build_fpn, build_retinanet_fpn
from detnas.modeling.classifier import ClassifierNeck

from .backbone import SPNet
from .config import add_spnas_config  # noqa: F401  importing it from here registers the networks
from .zoo import get_published


def build_published(name: str, **kwargs) -> SPNet:
    """Build a published network with random weights; ``kwargs`` override its arguments of :class:`spnas.SPNet`."""
    return SPNet(**{**get_published(name).settings, **kwargs})


@BACKBONE_REGISTRY.register()
def build_spnas_backbone(cfg, input_shape=None):
    """The network of ``MODEL.SPNAS``."""
    return SPNet(cfg, input_shape)


@BACKBONE_REGISTRY.register()
def build_spnas_fpn_backbone(cfg, input_shape=None):
    """FPN for Faster R-CNN and similar detectors: one level per stage from p2 on, and a max-pooled one."""
    return build_fpn(cfg, SPNet(cfg, input_shape), LastLevelMaxPool())


@BACKBONE_REGISTRY.register()
def build_spnas_retinanet_fpn_backbone(cfg, input_shape=None):
    """FPN for RetinaNet: one level per stage from p3 on, and two more by convs."""
    return build_retinanet_fpn(cfg, SPNet(cfg, input_shape))


@BACKBONE_REGISTRY.register()
def build_spnas_classifier_backbone(cfg, input_shape=None):
    """The network of ``MODEL.SPNAS`` in a classifier."""
    return ClassifierNeck(SPNet(cfg, input_shape), None)
