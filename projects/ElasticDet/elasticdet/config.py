"""Config keys of elastic detectors with their defaults, and what follows from them in a config. Pure Python."""

from yacs.config import CfgNode

from detnas.config.settings import COUNT, RULES, Rule

#: the meta-architecture that runs as any child of a family
ELASTIC_DETECTOR = "ElasticDetector"


def add_elastic_config(cfg: CfgNode) -> None:
    """Add the keys, in place, to a Detectron2 config that has DetNAS's keys."""
    CN = type(cfg)
    cfg.MODEL.ELASTIC = CN()
    # Shorter sides of test images in pixels, increasing to INPUT.MIN_SIZE_TEST; empty: an ordinary detector. Training
    # images and anchors scale with them.
    cfg.MODEL.ELASTIC.SIZES = ()
    # Other keys in which children differ, each with values that increase to the config's own, such as
    # ["MODEL.FPN.OUT_CHANNELS", 16, 32]. A key may make layers narrower or fewer, or set a number.
    cfg.MODEL.ELASTIC.CHOICES = []
    # A search refuses fewer held-out images: they hardly distinguish children.
    cfg.MODEL.ELASTIC.FEWEST_IMAGES = 20
    # Meta-architecture of the children, set from MODEL.META_ARCHITECTURE.
    cfg.MODEL.ELASTIC.DETECTOR = ""


def _increasing(values):
    return all(value > 0 for value in values) and list(values) == sorted(set(values))


RULES["MODEL.ELASTIC.SIZES"] = Rule("numbers above 0, the smallest first, none twice", _increasing)
RULES["MODEL.ELASTIC.FEWEST_IMAGES"] = COUNT
RULES["MODEL.ELASTIC.CHOICES"] = Rule(
    'lists of a key and its values, numbers above 0, the smallest first, none twice, such as '
    '["MODEL.FPN.OUT_CHANNELS", 16, 32]',
    lambda choices: all(isinstance(key, str) and values and _increasing(values) for key, *values in choices),
)


def uses_elastic(cfg: CfgNode) -> bool:
    return bool(cfg.MODEL.ELASTIC.SIZES)


def fit_to_family(cfg: CfgNode) -> None:
    """If ``MODEL.ELASTIC.SIZES`` is set, let the config build the model that runs as any child, in place."""
    if uses_elastic(cfg) and cfg.MODEL.META_ARCHITECTURE != ELASTIC_DETECTOR:
        cfg.MODEL.ELASTIC.DETECTOR, cfg.MODEL.META_ARCHITECTURE = cfg.MODEL.META_ARCHITECTURE, ELASTIC_DETECTOR
