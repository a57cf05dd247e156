"""How a config says that it wants a detector of this package."""


def add_released_config(cfg):
    """There are no keys to add: the detectors are named in Detectron2's."""


def uses_released(cfg):
    """Whether a config names a part of these detectors."""
    model = cfg.MODEL
    parts = (model.ANCHOR_GENERATOR, model.PROPOSAL_GENERATOR, model.ROI_HEADS)
    return any(name.startswith("Released") for name in (model.META_ARCHITECTURE, *(part.NAME for part in parts)))
