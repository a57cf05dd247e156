"""What follows from a code in the config of a detector: levels of FPN and heads, anchors. Pure Python."""

from yacs.config import CfgNode

from detnas.errors import UserError

from .code import ParallelCode
from .zoo import get_published


def uses_spnas(cfg: CfgNode) -> bool:
    """Whether the backbone of a config is one of this package's."""
    return "spnas" in cfg.MODEL.BACKBONE.NAME


def fit_to_code(cfg: CfgNode) -> None:
    """
    Set, in place, the features and anchors of a detector whose backbone is a network of ``MODEL.SPNAS.CODE``; other
    configs stay as they are. Every stage has a level of the FPN (RetinaNet: from the second one on), followed by one
    that is max-pooled (RetinaNet: two that are convolved). Where ``MODEL.ANCHOR_GENERATOR.SIZES`` has not one entry a
    level, the first is doubled from level to level. The padding of the images follows from the FPN.

    The name of a published network in ``MODEL.SPNAS.CODE`` is replaced by its code, and ``BLOCK``, ``STEM`` and
    ``SHORTCUT`` become those of the network, so that a config that is saved is whole.
    """
    if not uses_spnas(cfg):
        return
    model = cfg.MODEL
    try:
        if model.SPNAS.CODE[:1].isalpha():
            for name, value in get_published(model.SPNAS.CODE).settings.items():
                model.SPNAS[name.upper()] = value
        stages = ParallelCode.parse(model.SPNAS.CODE).counts
    except UserError as e:
        raise UserError(f"MODEL.SPNAS.CODE: {e}") from None
    strides = range(2, len(stages) + 2)
    model.FPN.IN_FEATURES = [f"res{k}" for k in strides]
    model.ROI_HEADS.IN_FEATURES = [f"p{k}" for k in strides]
    model.RPN.IN_FEATURES = levels = [f"p{k}" for k in (*strides, strides.stop)]
    if "retinanet" in model.BACKBONE.NAME:
        model.FPN.IN_FEATURES = model.FPN.IN_FEATURES[1:]
        levels = [*levels[1:], f"p{strides.stop + 1}"]
    model.RETINANET.IN_FEATURES = levels
    sizes = model.ANCHOR_GENERATOR.SIZES
    if len(sizes) != len(levels):
        model.ANCHOR_GENERATOR.SIZES = [[size * 2**level for size in sizes[0]] for level in range(len(levels))]
