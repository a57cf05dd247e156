"""Registers networks, and applies the fixes of ``compat.py``, as soon as Detectron2 is imported."""

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


#: modules to import as soon as Detectron2 is
_waiting = []


def register_with_detectron2(*modules):
    """
    Import modules, which register what they define, now, or as soon as something imports Detectron2: that takes
    seconds, which reading a log does not need.

    Raises:
        ModuleNotFoundError: if there is none.
    """
    if importlib.util.find_spec("detectron2") is None:
        raise ModuleNotFoundError(_INSTALL, name="detectron2")
    if "detectron2" in sys.modules:
        _import(modules)
        return
    if not _waiting:
        sys.meta_path.insert(0, _AfterImport())
    _waiting.extend(modules)


def _import(modules):
    for module in modules:
        importlib.import_module(module)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Finds Detectron2 as everybody does, and imports what waits for it once its ``__init__.py`` has run."""

    def find_spec(self, name, path=None, target=None):
        if name != "detectron2":
            return None
        others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, others))
        run = spec.loader.exec_module

        def run_and_register(module):
            run(module)
            sys.meta_path.remove(self)
            _import(_waiting)

        spec.loader.exec_module = run_and_register
        return spec
