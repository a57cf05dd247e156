"""
Weights of the authors' code of 2019 (github.com/megvii-model/DetNAS): ``tools/convert_released.py`` puts them under the
names of :mod:`detnas`, and detectors with the settings that it prints place, pool and clip boxes as that code does.

Importing the package makes these detectors known to a config that names one, as does ``add_released_config``.
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
