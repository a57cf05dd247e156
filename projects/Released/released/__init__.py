"""
Weights of the authors' code of 2019 (github.com/megvii-model/DetNAS), converted by ``tools/convert_released.py``. With
the settings that it prints, detectors of this package place, pool and clip boxes as that code does.
"""

from detnas.config.load import register_config

from . import config

__all__ = ["add_released_config"]


def __getattr__(name):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import boxes

    return getattr(boxes, name)


register_config(config.add_released_config, lambda cfg: None, config.uses_released, "released.boxes")
