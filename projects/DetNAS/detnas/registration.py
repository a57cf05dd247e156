"""Registers the package's networks, and applies the fixes of ``compat.py``, as soon as Detectron2 is imported."""

import importlib
import importlib.abc
import importlib.util
import sys

_INSTALL = (
    "detnas needs Detectron2, which is not installed: either `make setup` or `uv pip install -e '.[detectron2]'` in a "
    "clone of this project (Detectron2 0.6 from the package index, no compiler needed), or build the main branch with "
    "`pip install --no-build-isolation 'detectron2 @ git+https://github.com/facebookresearch/detectron2'`; "
    "docs/quickstart.md says more."
)


def register_with_detectron2():
    """
    Register now, or as soon as something imports Detectron2: that takes seconds, which reading a log does not need.

    Raises:
        ModuleNotFoundError: if there is none.
    """
    if importlib.util.find_spec("detectron2") is None:
        raise ModuleNotFoundError(_INSTALL, name="detectron2")
    if "detectron2" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterImport())


def _register():
    for module in ("compat", "modeling.builders", "modeling.classifier", "modeling.released_boxes"):
        importlib.import_module(f"detnas.{module}")


class _AfterImport(importlib.abc.MetaPathFinder):
    """Finds Detectron2 as everybody does, and registers once its ``__init__.py`` has run."""

    def find_spec(self, name, path=None, target=None):
        if name != "detectron2":
            return None
        others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, others))
        run = spec.loader.exec_module

        def run_and_register(module):
            run(module)
            sys.meta_path.remove(self)
            _register()

        spec.loader.exec_module = run_and_register
        return spec
