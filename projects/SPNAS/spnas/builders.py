"""The networks as Detectron2 builds them, from a config or by name."""

from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7

from detnas.modeling.builders import build_fpn
from detnas.modeling.classifier import ClassifierNeck

# Not SPNet from it: where spnas.backbone is what first imports Detectron2, this module is read in the midst of it.
from . import backbone
from .zoo import get_published


def build_published(name: str, **kwargs) -> "backbone.SPNet":
    """
    A published network by name, with random weights. Keyword arguments go to :class:`spnas.SPNet`.

    Raises:
        UserError: if there is no such network.
    """
    return backbone.SPNet(**{**get_published(name).settings, **kwargs})


@BACKBONE_REGISTRY.register()
def build_spnas_backbone(cfg, input_shape=None):
    """The network of ``MODEL.SPNAS``."""
    return backbone.SPNet(cfg, input_shape)


@BACKBONE_REGISTRY.register()
def build_spnas_fpn_backbone(cfg, input_shape=None):
    """FPN for Faster R-CNN and its kin: a level for each stage from p2 on, and one more by max-pooling."""
    return build_fpn(cfg, backbone.SPNet(cfg, input_shape), LastLevelMaxPool())


@BACKBONE_REGISTRY.register()
def build_spnas_retinanet_fpn_backbone(cfg, input_shape=None):
    """FPN for RetinaNet: a level for each stage from p3 on, and two more by convs."""
    channels = cfg.MODEL.FPN.OUT_CHANNELS
    # build_fpn says from which level.
    return build_fpn(cfg, backbone.SPNet(cfg, input_shape), LastLevelP6P7(channels, channels, in_feature=""))


@BACKBONE_REGISTRY.register()
def build_spnas_classifier_backbone(cfg, input_shape=None):
    """The network of a classifier."""
    return ClassifierNeck(backbone.SPNet(cfg, input_shape), None)
