"""
DetNAS: backbone search for object detection (Chen et al., NeurIPS 2019), on Detectron2.

Importing the package registers its networks with Detectron2, at once or, where Detectron2 is not imported yet, as soon
as it is. What is slow to import is imported when it is used.
"""

import importlib

from .registration import register_with_detectron2

#: public name -> module that has it
_MODULES = {
    "Choice": "choices",
    "ChoiceSpace": "choices",
    "OPS": "space",
    "PUBLISHED": "zoo",
    "SPACES": "space",
    "Constraint": "config.constraint",
    "CostTable": "cost.table",
    "DetNASNet": "modeling.backbone",
    "DetNASSupernet": "modeling.backbone",
    "SearchSpace": "space",
    "activate": "modeling.choices",
    "add_detnas_config": "config.keys",
    "build_published": "modeling.builders",
    "config_space": "config.keys",
    "from_released": "modeling.released",
    "get_space": "space",
    "load_weights": "modeling.weights",
    "recalibrate_bn": "batch_norm.recalibration",
    "resolve_arch": "zoo",
    "state_of": "modeling.choices",
}
__all__ = list(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__():
    return [*globals(), *_MODULES]


register_with_detectron2(
    "detnas.compat", "detnas.modeling.builders", "detnas.modeling.classifier", "detnas.modeling.released_boxes"
)
