"""Tells whether a config uses a detector of this package."""


def add_released_config(cfg):
    """Adds nothing: Detectron2's keys name the detectors."""


def uses_released(cfg):
    """Whether a config names one of these detectors, or a part of one."""
    model = cfg.MODEL
    parts = (model.ANCHOR_GENERATOR, model.PROPOSAL_GENERATOR, model.ROI_HEADS)
    return any(name.startswith("Released") for name in (model.META_ARCHITECTURE, *(part.NAME for part in parts)))
