"""What follows from a code in the config of a detector: levels of FPN and heads, anchors. Pure Python."""

from detnas.errors import UserError

from .code import ParallelCode
from .zoo import PUBLISHED


def uses_spnas(cfg):
    """Whether the backbone of a config is one of this package's."""
    return "spnas" in cfg.MODEL.BACKBONE.NAME


def fit_to_code(cfg):
    """
    Set, in place, the features and anchors of a detector whose backbone is a network of ``MODEL.SPNAS.CODE``; other
    configs stay as they are. Every stage has a level of the FPN (RetinaNet: from the second one on), followed by one
    that is max-pooled (RetinaNet: two that are convolved). Where ``MODEL.ANCHOR_GENERATOR.SIZES`` has not one entry a
    level, the first is doubled from level to level. The padding of the images follows from the FPN.

    The name of a published network in ``MODEL.SPNAS.CODE`` is replaced by its code, and ``BLOCK``, ``STEM`` and
    ``SHORTCUT`` become those of the network: a config that is saved is whole, and means the same whatever names stand
    for later.

    Raises:
        UserError: if the code is none, nor a name.
    """
    if not uses_spnas(cfg):
        return
    _replace_name(cfg.MODEL.SPNAS)
    try:
        code = ParallelCode.parse(cfg.MODEL.SPNAS.CODE).serial
    except UserError as e:
        raise UserError(f"MODEL.SPNAS.CODE: {e}") from None
    model, strides = cfg.MODEL, range(2, len(code.stages) + 2)
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


def _replace_name(spnas):
    if spnas.CODE in PUBLISHED:
        for name, value in PUBLISHED[spnas.CODE].settings.items():
            spnas[name.upper()] = value
    elif spnas.CODE[:1].isalpha():
        names = ", ".join(PUBLISHED)
        raise UserError(f'MODEL.SPNAS.CODE "{spnas.CODE}" is no code and no published network; those are: {names}')


def with_code(cfg, code):
    """A copy of a config, not frozen, with another code and what follows from it."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.SPNAS.CODE = str(code)
    fit_to_code(cfg)
    return cfg
