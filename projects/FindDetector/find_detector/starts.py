"""Where the training of one network can start, with pre-trained or random weights; and whether to search beside it."""

from dataclasses import dataclass

from detnas.errors import UserError
from pretrained.config import pretrained_config

from .recipe import GPU_PRETRAINED_KINDS, PRETRAINED_KINDS

#: the network that is tried where no --backbone is given (Apache-2.0, from a package that is installed with timm)
BACKBONE = "tf_efficientnet_lite0"
#: Below these a plain network was the better use of the time in most of what was measured (docs/results.md): hours
#: without and with a GPU, training images.
SEARCH_HOURS, SEARCH_GPU_HOURS, SEARCH_IMAGES = 1.0, 0.25, 1000
#: hours from which the random networks of all spaces race against a pre-trained one, not the smallest alone
ALL_HOURS = 1.0


@dataclass(frozen=True)
class Start:
    """A network, its weights, and how it is trained."""

    name: str  # of its config
    about: str  # in words
    space: str  # or kind, whose recipe it stands on
    settings: dict  # over those of the recipe
    arch: str = ""  # of a network of the space
    licence: str = ""  # of pre-trained weights


def pretrained_start(backbone: str, weights: str, kind: str) -> Start:
    """
    A network of timm in a detector of ``PRETRAINED_KINDS``. Its batch norms and its blocks up to stride 4 stay as they
    are: with everything trained it was worse wherever both were tried (experiments/RESULTS.md).

    Args:
        weights: as in ``MODEL.TIMM.WEIGHTS``.
    """
    settings = {"MODEL": {"TIMM": {"NAME": backbone, "WEIGHTS": weights, "FREEZE_AT": 2, "NORM": "FrozenBN"}}}
    about = f"{backbone} with {'ImageNet weights' if weights == 'pretrained' else weights} and {kind} heads"
    licence = pretrained_config(backbone).get("license") or "not said"
    return Start(f"{backbone}_{kind}", about, kind, settings, licence=licence)


def random_start(space: str, plain: list) -> Start:
    """The network of one op of a space, ``[name, arch]``, from random weights."""
    name, arch = plain
    settings = {"MODEL": {"DETNAS": {"ARCH": arch}}}
    return Start(f"{space}_random", f"{name} of {space} with random weights", space, settings, arch)


def choose_starts(request, plains: dict, gpu: bool) -> tuple:
    """
    The starts that race, the likeliest first, and why there is no pre-trained one ("" if there is).

    Args:
        request: a :class:`find_detector.plan.Request`.
        plains: {space: [name, arch] of its network of one op}, the largest first.
        gpu: whether there is one.
    """
    for option in ("backbone", "weights"):
        if request.from_scratch and getattr(request, option):
            raise UserError(f"--from-scratch leaves no use for --{option}: give one of them")
    scratch = [random_start(space, plain) for space, plain in plains.items()]
    if request.from_scratch:
        return scratch, "--from-scratch"
    if request.limit:
        return scratch, "--limit counts networks of the search spaces alone"
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
    first, *more = (pretrained_start(*network, name) for name, kind in kinds.items() if request.hours >= kind.hours)
    if request.backbone or request.weights:
        return [first], ""
    # In less time a race has too little for each of several.
    return [first, *more, *(scratch if request.hours >= ALL_HOURS else scratch[-1:])], ""


def should_search(request, images: int, gpu: str, all_3x3: bool, plain: bool, no_weights: str) -> tuple:
    """
    Whether a search is worth its time, and why.

    Args:
        all_3x3: whether it meets the limits.
        plain: whether any network does that needs no search.
        no_weights: why there are no pre-trained weights, "" if there are.
    """
    page = "docs/results.md, When a search pays"
    least = SEARCH_GPU_HOURS if gpu else SEARCH_HOURS
    if request.search == "never":
        if not plain:
            raise UserError("--search never: no network of one op meets the limits, so one has to be searched for")
        return False, "--search never"
    if not all_3x3:
        return True, f"all 3x3 does not meet the limits, so a mixture has to be found ({page})"
    if not no_weights:
        why = "pre-trained weights were worth more than a search where both were measured (docs/own_data.md)"
    elif request.hours < least:
        where = f"less than {least * 60:g} minutes " + ("with a GPU" if gpu else "on a CPU")
        why = f"in {where} the plain network was mostly better where both were measured ({page})"
    elif images < SEARCH_IMAGES:
        why = (f"with {images} training images, fewer than {SEARCH_IMAGES}, the held-out ones cannot tell networks "
               f"apart: on blood cells the plain network was better ({page})")
    else:
        return True, f"{request.hours:g} hours and {images} training images: enough for a search to pay ({page})"
    if request.search == "always":
        return True, f"--search always; without it the plain network would be trained alone: {why}"
    return False, why
