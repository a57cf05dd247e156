"""Fixtures shared by the tests of data, engine, search and scripts."""

import pytest
from toy_runs import own_loggers

from detnas.data import toy


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory):
    """Folder of a small generated classification and detection set."""
    root = tmp_path_factory.mktemp("generated") / "toy"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "CLASSIFICATION", {"train": 8, "val": 4})
        patch.setattr(toy, "DETECTION", {"train": 8, "val": 4, "test": 4})
        toy.generate(str(root))
    return root


@pytest.fixture(autouse=True)
def loggers_as_before():
    """No handler of a run in this process outlives its test."""
    with own_loggers():
        yield
