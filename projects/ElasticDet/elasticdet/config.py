"""Every config key of elastic detectors, with its default, and what follows from them in a config. Pure Python."""

from yacs.config import CfgNode

from detnas.config.settings import RULES, Rule

#: the meta-architecture that runs as any child of a family
ELASTIC_DETECTOR = "ElasticDetector"


def add_elastic_config(cfg: CfgNode) -> None:
    """Add the keys to a Detectron2 config that has those of DetNAS, in place."""
    CN = type(cfg)
    cfg.MODEL.ELASTIC = CN()
    # Shorter sides of the test images in pixels, the smallest first, the largest INPUT.MIN_SIZE_TEST; empty: an
    # ordinary detector. Images of the training and anchors are as much smaller.
    cfg.MODEL.ELASTIC.SIZES = ()
    # Other keys that children differ in, each with its values, the smallest first, the last one that of the config:
    # ["MODEL.FPN.OUT_CHANNELS", 16, 32]. Any key may stand here that makes layers narrower or fewer, or sets a number.
    cfg.MODEL.ELASTIC.CHOICES = []
    # The meta-architecture of the children; set from MODEL.META_ARCHITECTURE.
    cfg.MODEL.ELASTIC.DETECTOR = ""


def _increasing(values):
    return all(value > 0 for value in values) and list(values) == sorted(set(values))


RULES["MODEL.ELASTIC.SIZES"] = Rule("numbers above 0, the smallest first, none twice", _increasing)
RULES["MODEL.ELASTIC.CHOICES"] = Rule(
    'lists of a key and its values, numbers above 0, the smallest first, none twice, such as '
    '["MODEL.FPN.OUT_CHANNELS", 16, 32]',
    lambda choices: all(isinstance(key, str) and values and _increasing(values) for key, *values in choices),
)


def uses_elastic(cfg: CfgNode) -> bool:
    return bool(cfg.MODEL.ELASTIC.SIZES)


def fit_to_family(cfg: CfgNode) -> None:
    """Let a config that has several sizes build the model that runs as any of its children, in place."""
    if uses_elastic(cfg) and cfg.MODEL.META_ARCHITECTURE != ELASTIC_DETECTOR:
        cfg.MODEL.ELASTIC.DETECTOR, cfg.MODEL.META_ARCHITECTURE = cfg.MODEL.META_ARCHITECTURE, ELASTIC_DETECTOR
