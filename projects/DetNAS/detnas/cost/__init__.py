from detnas import compat  # noqa: F401  before anything of Detectron2
