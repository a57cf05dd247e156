"""Imports scripts of ``tools/`` and ``demo/``, which are no packages."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def script(folder, name):
    """The module of FOLDER/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
