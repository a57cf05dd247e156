"""Sets FPN levels, heads and anchors of a detector, which follow from the code of its backbone. Pure Python."""

from yacs.config import CfgNode

from detnas.errors import UserError

from .code import ParallelCode
from .zoo import get_published


def uses_spnas(cfg: CfgNode) -> bool:
    """Whether a config has a backbone of this package."""
    return "spnas" in cfg.MODEL.BACKBONE.NAME


def fit_to_code(cfg: CfgNode) -> None:
    """
    Set, in place, features and anchors of a detector with a backbone of this package; other configs stay the same.

    The FPN has a level per stage and a max-pooled one (RetinaNet: one per stage from the second on, and two by convs).
    Unless ``MODEL.ANCHOR_GENERATOR.SIZES`` has one entry per level, the first entry doubles from level to level. The
    padding of images follows from the FPN. A published network's name becomes its code, and sets ``BLOCK``, ``STEM``
    and ``SHORTCUT``, so a saved config is complete. UserError if the code is none.
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
