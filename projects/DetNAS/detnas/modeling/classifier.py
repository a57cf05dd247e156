"""Classifier of step 1 (paper, Sec. 3.2): network, conv, pooling, linear layer. N images, C channels, H x W pixels."""

from typing import Any, Dict, List, Optional, Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, Backbone, build_backbone, build_resnet_backbone
from torch import nn

from .blocks import init_conv
from .builders import build_detnas_backbone


class ClassifierNeck(Backbone):
    """
    The last 1x1 conv of the classifier, on the last feature of a network. ``out_channels`` None means no conv (ResNet).
    It takes the place of a detector's FPN, so weights of the network have the same names in both: ``bottom_up``.
    """

    def __init__(self, bottom_up: Backbone, out_channels: Optional[int], norm: str = "BN"):
        super().__init__()
        self.bottom_up = bottom_up
        self._feature, shape = list(bottom_up.output_shape().items())[-1]
        self._out_features, self._out_feature_strides = ["last"], {"last": shape.stride}  # for output_shape()
        self._out_feature_channels = {"last": out_channels or shape.channels}
        self.last = nn.Identity()
        if out_channels is not None:
            conv = nn.Conv2d(shape.channels, out_channels, kernel_size=1)
            init_conv(conv)
            self.last = nn.Sequential(conv, get_norm(norm, out_channels), nn.ReLU(inplace=True))

    def forward(self, x: torch.Tensor) -> Dict[str, torch.Tensor]:
        """images (N, 3, H, W) -> {"last": (N, out_channels, H / 32, W / 32)}"""
        return {"last": self.last(self.bottom_up(x)[self._feature])}


@BACKBONE_REGISTRY.register()
def build_detnas_classifier_backbone(cfg: CfgNode, input_shape: Optional[ShapeSpec] = None) -> ClassifierNeck:
    """Network of ``MODEL.DETNAS.ARCH`` with the classifier's last conv."""
    bottom_up = build_detnas_backbone(cfg, input_shape)
    return ClassifierNeck(bottom_up, bottom_up.space.last_channels, cfg.MODEL.DETNAS.NORM)


@BACKBONE_REGISTRY.register()
def build_resnet_classifier_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ClassifierNeck:
    """Detectron2's ResNet, for pre-training the baselines' backbone."""
    return ClassifierNeck(build_resnet_backbone(cfg, input_shape), None)


@META_ARCH_REGISTRY.register()
class ImageClassifier(nn.Module):
    """
    Image classifier with the interface of Detectron2's detectors. ``backbone`` gives the feature map "last". The pixel
    statistics have a value for each channel, in the range of the input. Dropout comes before the linear layer.
    """

    @configurable
    def __init__(self, *, backbone: Backbone, num_classes: int, pixel_mean: Sequence[float],
                 pixel_std: Sequence[float], dropout: float = 0.2, label_smoothing: float = 0.1):
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(backbone.output_shape()["last"].channels, num_classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)
        self.label_smoothing = label_smoothing
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Dict[str, Any]:
        return {
            "backbone": build_backbone(cfg),
            "num_classes": cfg.MODEL.CLASSIFIER.NUM_CLASSES,
            "dropout": cfg.MODEL.CLASSIFIER.DROPOUT,
            "label_smoothing": cfg.MODEL.CLASSIFIER.LABEL_SMOOTHING,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def forward(self, batched_inputs: List[Dict[str, Any]]):
        """
        Classify dicts with "image" (3, H, W), all of one size, and in training "label" (int). Returns {"loss_cls":
        scalar} in training, else a list of {"scores": (num_classes,)}, class probabilities.
        """
        images = torch.stack([x["image"].to(self.device) for x in batched_inputs])  # (N, 3, H, W)
        images = (images - self.pixel_mean) / self.pixel_std
        features = self.backbone(images)["last"].mean(dim=(2, 3))  # (N, C)
        logits = self.linear(self.dropout(features))  # (N, num_classes)
        if self.training:
            labels = torch.tensor([x["label"] for x in batched_inputs], device=self.device)
            return {"loss_cls": F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)}
        return [{"scores": scores} for scores in logits.softmax(dim=1)]
