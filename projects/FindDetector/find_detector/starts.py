"""Starts of a training: networks with pre-trained or random weights."""

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

#: network without --backbone (Apache-2.0, from a package that is installed with timm)
BACKBONE = "tf_efficientnet_lite0"
#: From so many hours on there is no race: the largest pre-trained kind always won in the end, but a race of 5 minutes
#: on circuit boards found 14 AP for it and 43 for random weights (experiments/RESULTS.md).
_NO_RACE = 0.5
#: From so many hours on a family has parts of networks, which cost large detectors AP after ten minutes of training,
#: and none after forty (experiments/RESULTS.md); shares of head channels
_LONG, _PARTS_OF_HEADS = 1.0, (1 / 4, 1 / 2, 1)
_HEADS = "MODEL.FPN.OUT_CHANNELS", "MODEL.ROI_BOX_HEAD.CONV_DIM", "MODEL.ROI_BOX_HEAD.FC_DIM"


@dataclass(frozen=True)
class Start:
    """A network, its weights, and how it is trained."""

    name: str  # of its config
    about: str  # in words
    space: str  # space or kind of its recipe
    settings: dict  # overrides of the recipe's
    licence: str = ""  # of pre-trained weights
    parts: list = field(default_factory=list)  # MODEL.ELASTIC.CHOICES of its family beside sizes and proposals


def pretrained_start(backbone: str, weights: str, kind: str, hours: float, base: str) -> Start:
    """
    A timm network in a detector of a pre-trained kind, config ``base``; ``weights`` as ``MODEL.TIMM.WEIGHTS``. Batch
    norms and blocks up to stride 4 stay frozen: training all was always worse (experiments/RESULTS.md).
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
    """The first network of one op in a space, all 3x3, with random weights."""
    kind = {**KINDS, **GPU_KINDS}[space]
    found = SPACES.get(space) or config_space(load_config(os.path.join(shipped_configs(), kind.base)))
    name, path = next(iter(found.anchors().items()))
    settings = {"MODEL": {"DETNAS": {"ARCH": found.format(path)}}}
    return Start(f"{space}_random", f"{name} of {space} with random weights", space, settings)


def choose_starts(request, spaces: list, gpu: bool) -> tuple:
    """
    The starts that race, the likeliest first, and why none is pre-trained ("" if one is). ``spaces`` are for random
    weights, the largest first. UserError for a --backbone or --weights that cannot be used.
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
    found = [pretrained_start(*network, name, request.hours, kinds[name].base) for name in names]
    if request.hours >= _NO_RACE:
        return found[-1:], ""
    if request.backbone or request.weights:
        return found[:1], ""
    # A race is too short for several random starts: the smallest learns most in it.
    return [*found, scratch[-1]], ""
