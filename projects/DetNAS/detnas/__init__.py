"""
DetNAS: backbone search for object detection (Chen et al., NeurIPS 2019), on Detectron2.

Names are imported on first use. ``add_detnas_config`` and any network also register the networks with Detectron2.
"""

import importlib
import importlib.util

if importlib.util.find_spec("detectron2") is None:
    raise ModuleNotFoundError(
        "detnas needs Detectron2, which is not installed: either `make setup` or `uv pip install -e '.[detectron2]'` "
        "in a clone of this project (Detectron2 0.6 from the package index, no compiler needed), or build the main "
        "branch with `pip install --no-build-isolation 'detectron2 @ git+https://github.com/facebookresearch/"
        "detectron2'`; docs/install.md says more.",
        name="detectron2",
    )

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
    "add_detnas_config": "modeling",
    "build_published": "modeling.builders",
    "config_space": "config.keys",
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
