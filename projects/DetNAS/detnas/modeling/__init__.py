"""The networks. Any import from here registers them with Detectron2."""

from detnas import compat  # noqa: F401  before anything of Detectron2
from detnas.config.keys import add_detnas_config  # noqa: F401  who adds the keys gets the networks

from . import builders, classifier  # noqa: F401
