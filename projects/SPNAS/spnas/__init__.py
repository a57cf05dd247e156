"""
SP-NAS: serial-to-parallel backbone search for object detection (Jiang et al., CVPR 2020), on Detectron2.

The import registers config keys and search methods. The networks are imported and registered with the first config that
uses them, ``add_spnas_config`` or ``SPNet``. Other slow modules are imported at first use.
"""

import importlib

from detnas.config.load import register_config
from detnas.search.method import register_method

from . import config
from .fit import fit_to_code, uses_spnas
from .space import ParallelSpace, SerialSpace

#: public name -> its module
_MODULES = {
    "PUBLISHED": "zoo",
    "ParallelCode": "code",
    "SPNet": "builders",
    "SerialCode": "code",
    "add_spnas_config": "builders",
    "build_published": "builders",
    "inherit": "inheritance",
}
__all__ = ["fit_to_code", *_MODULES]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


register_config(config.add_spnas_config, fit_to_code, uses_spnas, "spnas.builders")
register_method("spnas_serial", SerialSpace.read, "spnas.serial_search:SerialSearch")
register_method("spnas_parallel", ParallelSpace.read, "spnas.parallel_search:ParallelSearch")
