"""Where the training can start: which network, with pre-trained or random weights."""

import functools
import os
from dataclasses import dataclass, field

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.errors import UserError
from detnas.files import shipped_configs
from detnas.space import SPACES
from pretrained.config import pretrained_config

from .recipe import GPU_KINDS, GPU_PRETRAINED_KINDS, KINDS, PRETRAINED_KINDS

#: the network that is tried where no --backbone is given (Apache-2.0, from a package that is installed with timm)
BACKBONE = "tf_efficientnet_lite0"
#: Hours from which of pre-trained networks the largest alone races, and a family has parts of it, too: after ten
#: minutes of training they cost the large detectors AP, after forty none (experiments/RESULTS.md). Of the heads it then
#: has these shares of their channels.
_LONG, _PARTS_OF_HEADS = 1.0, (1 / 4, 1 / 2, 1)
_HEADS = "MODEL.FPN.OUT_CHANNELS", "MODEL.ROI_BOX_HEAD.CONV_DIM", "MODEL.ROI_BOX_HEAD.FC_DIM"


@dataclass(frozen=True)
class Start:
    """A network, its weights, and how it is trained."""

    name: str  # of its config
    about: str  # in words
    space: str  # or kind, whose recipe it stands on
    settings: dict  # over those of the recipe
    arch: str = ""  # of a network of the space
    licence: str = ""  # of pre-trained weights
    parts: list = field(default_factory=list)  # MODEL.ELASTIC.CHOICES of its family beside sizes and proposals


def pretrained_start(backbone: str, weights: str, kind: str, hours: float, base: str) -> Start:
    """
    A network of timm in a detector of ``PRETRAINED_KINDS``. Its batch norms and its blocks up to stride 4 stay as they
    are: with everything trained it was worse wherever both were tried (experiments/RESULTS.md).

    Args:
        weights: as in ``MODEL.TIMM.WEIGHTS``.
        base: config of the kind.
    """
    from pretrained.parts import places  # it imports timm, which is optional
    whole, parts = places(backbone) if hours >= _LONG else ({}, [])
    if parts:
        cfg = load_config(os.path.join(shipped_configs(), base))
        most = {key: functools.reduce(getattr, key.split("."), cfg) for key in _HEADS}
        parts = [*([key, *(int(share * value) for share in _PARTS_OF_HEADS)] for key, value in most.items()), *parts]
    settings = {"MODEL": {"TIMM": {
        "NAME": backbone, "WEIGHTS": weights, "FREEZE_AT": 2, "NORM": "FrozenBN", **whole}}}
    about = f"{backbone} with {'ImageNet weights' if weights == 'pretrained' else weights} and {kind} heads"
    licence = pretrained_config(backbone).get("license") or "not said"
    return Start(f"{backbone}_{kind}", about, kind, settings, licence=licence, parts=parts)


def random_start(space: str) -> Start:
    """The first network of one op of a space, all 3x3, from random weights."""
    kind = {**KINDS, **GPU_KINDS}[space]
    found = SPACES.get(space) or config_space(load_config(os.path.join(shipped_configs(), kind.base)))
    name, path = next(iter(found.anchors().items()))
    arch = found.format(path)
    settings = {"MODEL": {"DETNAS": {"ARCH": arch}}}
    return Start(f"{space}_random", f"{name} of {space} with random weights", space, settings, arch)


def choose_starts(request, spaces: list, gpu: bool) -> tuple:
    """
    The starts that race, the likeliest first, and why there is no pre-trained one ("" if there is).

    Args:
        request: a :class:`find_detector.plan.Request`.
        spaces: for random weights, the largest first.
        gpu: whether there is one.
    """
    for option in ("backbone", "weights"):
        if request.from_scratch and getattr(request, option):
            raise UserError(f"--from-scratch leaves no use for --{option}: give one of them")
    scratch = [random_start(space) for space in spaces]
    if request.from_scratch:
        return scratch, "--from-scratch"
    kinds = GPU_PRETRAINED_KINDS if gpu else PRETRAINED_KINDS
    network = request.backbone or BACKBONE, request.weights or "pretrained"
    try:
        pretrained_config(network[0])
        from pretrained.weights import pretrained_weights  # it imports timm, which is optional
        pretrained_weights(*network)
    except UserError as e:
        if request.backbone or request.weights:
            raise
        return scratch, str(e)
    names = [name for name, kind in kinds.items() if request.hours >= kind.hours]
    found = [pretrained_start(*network, name, request.hours, kinds[name].base)
             for name in (names[-1:] if request.hours >= _LONG else names)]
    if request.backbone or request.weights:
        return found[:1], ""
    # A race has too little time for each of several random ones: the smallest learns most in it.
    return [*found, scratch[-1]], ""
