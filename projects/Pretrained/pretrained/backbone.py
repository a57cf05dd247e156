"""Networks of timm as backbones. N images of H x W pixels; the feature res{log2 S} has stride S and C channels."""

import math
from typing import Dict, Optional, Sequence

from detnas.compat import import_timm  # isort: skip  # first: it mends Detectron2 0.6
import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from torch import nn

from detnas.errors import UserError
from detnas.modeling.builders import build_fpn, build_retinanet_fpn
from detnas.modeling.choices import first_of

from .config import add_timm_config, pretrained_config  # noqa: F401  adding keys registers these
from .parts import sort_channels, take_part
from .weights import pretrained_weights

timm = import_timm()
#: shape of a test image for any network that takes several sizes
_IMAGE = (1, 3, 64, 96)


class TimmBackbone(Backbone):
    """
    A network of timm with random weights; :meth:`load_start` loads the pre-trained ones.

    Args:
        name, weights, freeze_at, norm, lr_factor: as in ``MODEL.TIMM``, see :func:`pretrained.config.add_timm_config`.
        part: arguments of :func:`pretrained.parts.take_part`.

    Raises:
        UserError: if timm has no such network, or no FPN can use it: it has no features, or none of freeze_at, strides
            do not double, features are not (N, C, H / S, W / S), or it takes images of one size only.
    """

    @configurable
    def __init__(self, name: str, weights: str = "pretrained", freeze_at: int = 0, norm: str = "BN",
                 lr_factor: float = 1.0, part: Sequence = ((), (), ())):
        super().__init__()
        pretrained_config(name)
        self.name, self.weights, self.lr_factor = name, weights, lr_factor
        self.network, self.is_part = _network(name), any(part)
        if self.is_part:
            take_part(self.network, *part)
        info = self.network.feature_info
        strides, channels = info.reduction(), info.channels()
        if any(2 * a != b for a, b in zip(strides, strides[1:])):
            raise UserError(f"MODEL.TIMM.NAME {name}: its features have the strides {', '.join(map(str, strides))}; an "
                            "FPN needs strides that double")
        self._names = [f"res{int(math.log2(stride))}" for stride in strides]
        self._out_feature_strides = dict(zip(self._names, strides))
        self._out_feature_channels = dict(zip(self._names, channels))
        self._out_features = [name for name, stride in zip(self._names, strides) if stride >= 4]
        self._check_shapes()
        self._freeze(freeze_at, norm)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Optional[ShapeSpec] = None) -> Dict:
        timm_keys = cfg.MODEL.TIMM
        return {"name": timm_keys.NAME, "weights": timm_keys.WEIGHTS, "freeze_at": timm_keys.FREEZE_AT,
                "norm": timm_keys.NORM, "lr_factor": timm_keys.LR_FACTOR,
                "part": (timm_keys.DEPTHS, timm_keys.EXPANSIONS, timm_keys.KERNELS)}

    def forward(self, x: torch.Tensor) -> Dict[str, torch.Tensor]:
        """(N, 3, H, W) -> {"res2": (N, C, H / 4, W / 4), "res3": (N, C, H / 8, W / 8), ...}"""
        features = dict(zip(self._names, self.network(x)))
        return {name: features[name] for name in self._out_features}

    def train(self, mode: bool = True):
        """As in any module, but frozen norms stay in eval mode."""
        super().train(mode)
        for module in self._frozen_norms:
            module.eval()
        return self

    def load_start(self) -> None:
        """Load the weights to start from. UserError if they are missing, of another network, or random but frozen."""
        if not self.weights and any(not p.requires_grad for p in self.parameters()):
            raise UserError('MODEL.TIMM.WEIGHTS "" starts from random values, which must not stay frozen: set '
                            "MODEL.TIMM.FREEZE_AT 0 and MODEL.TIMM.NORM BN, too")
        if self.weights:
            state = pretrained_weights(self.name, self.weights)
            if self.is_part:
                whole = _network(self.name)
                whole.load_state_dict(state)
                sort_channels(whole)
                own, state = self.network.state_dict(), whole.state_dict()
                state = {name: first_of(state[name], value.shape) for name, value in own.items()}
            self.network.load_state_dict(state)

    def _check_shapes(self):
        self.network.eval()
        try:
            with torch.no_grad():
                features = self.network(torch.zeros(_IMAGE))
        except (AssertionError, RuntimeError, ValueError) as e:
            reason = str(e).splitlines()[0]
            raise UserError(f"MODEL.TIMM.NAME {self.name} does not take images of any size: {reason}") from None
        for name, feature in zip(self._names, features):
            stride = self._out_feature_strides[name]
            shape = (1, self._out_feature_channels[name], _IMAGE[2] // stride, _IMAGE[3] // stride)
            if feature.shape != shape:
                raise UserError(f"MODEL.TIMM.NAME {self.name}: its feature of stride {stride} has the shape "
                                f"{tuple(feature.shape)} for an image of 64x96; an FPN needs {shape}")

    def _freeze(self, freeze_at, norm):
        frozen = set()
        if freeze_at:
            name = f"res{freeze_at}"
            if name not in self._names:
                raise UserError(f"MODEL.TIMM.FREEZE_AT {freeze_at}: {self.name} has "
                                f"{', '.join(name[3:] for name in self._names)}, and 0 for nothing")
            # A feature gives a gradient to all that it depends on.
            feature = self.network(torch.zeros(_IMAGE))[self._names.index(name)]
            parameters = list(self.network.parameters())
            grads = torch.autograd.grad(feature.sum(), parameters, allow_unused=True)
            frozen = {parameter for parameter, grad in zip(parameters, grads) if grad is not None}
        norms = [m for m in self.network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self._frozen_norms = [m for m in norms if norm == "FrozenBN" or m.weight in frozen]
        for parameter in (*frozen, *(p for m in self._frozen_norms for p in m.parameters())):
            parameter.requires_grad_(False)
        self.train()


def _network(name):
    try:
        return timm.create_model(name, features_only=True)
    except (AttributeError, RuntimeError, NotImplementedError, AssertionError) as e:
        raise UserError(f"MODEL.TIMM.NAME {name} only classifies: timm has no features of it ({e})") from None


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: CfgNode, input_shape: Optional[ShapeSpec] = None) -> TimmBackbone:
    """The network of ``MODEL.TIMM``."""
    return TimmBackbone(cfg, input_shape)


@BACKBONE_REGISTRY.register()
def build_timm_fpn_backbone(cfg: CfgNode, input_shape: Optional[ShapeSpec] = None) -> FPN:
    """FPN for Faster R-CNN and its kin: a level for each of ``MODEL.FPN.IN_FEATURES``, one more by max-pooling."""
    return build_fpn(cfg, TimmBackbone(cfg, input_shape), LastLevelMaxPool())


@BACKBONE_REGISTRY.register()
def build_timm_retinanet_fpn_backbone(cfg: CfgNode, input_shape: Optional[ShapeSpec] = None) -> FPN:
    """FPN for RetinaNet: a level for each of ``MODEL.FPN.IN_FEATURES``, two more by convs."""
    return build_retinanet_fpn(cfg, TimmBackbone(cfg, input_shape))
