"""
DetNAS: backbone search for object detection (Chen et al., NeurIPS 2019), on Detectron2.

Importing the package registers its backbones and its classifier with Detectron2.
"""

from . import compat  # isort: skip  # noqa: F401  before anything of Detectron2
from .config import add_detnas_config, config_space
from .cost import Constraint, CostTable
from .engine.bn import recalibrate_bn
from .modeling import classifier, released_boxes  # noqa: F401  registered with Detectron2
from .modeling.backbone import DetNASNet, DetNASSupernet, find_supernet
from .modeling.builders import build_published
from .modeling.released import from_released
from .modeling.weights import insert_path, load_weights, select_path
from .space import OPS, SPACES, SearchSpace, get_space
from .zoo import PUBLISHED, resolve_arch

__all__ = [
    "OPS",
    "PUBLISHED",
    "SPACES",
    "Constraint",
    "CostTable",
    "DetNASNet",
    "DetNASSupernet",
    "SearchSpace",
    "add_detnas_config",
    "build_published",
    "config_space",
    "find_supernet",
    "from_released",
    "get_space",
    "insert_path",
    "load_weights",
    "recalibrate_bn",
    "resolve_arch",
    "select_path",
]
