"""Fixtures and settings of all tests."""

import gc
import os
import sys
from pathlib import Path

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6, which the tests import too
import elasticdet  # isort: skip  # noqa: F401  it registers its keys and method
import pretrained  # isort: skip  # noqa: F401  it registers its keys
import spnas  # isort: skip  # noqa: F401  it registers its keys and methods
import images
import pytest
import torch.utils.data
from toy_runs import DEVICE, own_loggers

from detnas.config.load import load_config

ROOT = Path(__file__).resolve().parents[1]
# train_net.py and search_net.py are no part of the installed package.
sys.path.insert(0, str(ROOT))
# torch waits so long for a worker that has failed, else five seconds.
torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.5


def pytest_collection_finish(session):
    # Imported objects stay: garbage collection need not look through them each time.
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_unconfigure(config):
    gc.unfreeze()


@pytest.fixture
def data_dir():
    """Folder of the real data sets."""
    folder = os.environ.get("DETNAS_DATA")
    if not folder:
        pytest.skip("DETNAS_DATA is not set: no real images")
    if not Path(folder).is_dir():
        pytest.skip(f"DETNAS_DATA {folder} is not a folder: no real images")
    return Path(folder)


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory):
    """Folder of a small generated set for classification and one for detection."""
    root = tmp_path_factory.mktemp("generated") / "toy"
    with pytest.MonkeyPatch.context() as patch:
        detection = {"train": 8, "val": 4, "test": 4}
        patch.setitem(images.COUNTS, "toy", {"classification": {"train": 8, "val": 4}, "detection": detection})
        images.generate("toy", str(root))
    return root


@pytest.fixture(autouse=True)
def loggers_as_before():
    """Remove the log handlers that a test's runs add."""
    with own_loggers():
        yield


@pytest.fixture
def refused(capsys):
    """Function that calls another, expects exit code 2 and "error: ..." last, and returns that sentence."""

    def check(function, *args, **kwargs):
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            function(*args, **kwargs)
        assert caught.value.code == 2
        *_, line = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return check


@pytest.fixture
def toy_config():
    """Function (name, *overrides) -> config of configs/demo, for one process."""

    def load(name, *overrides):
        norms = [f"MODEL.{part}.NORM" for part in ("DETNAS", "FPN", "ROI_BOX_HEAD")]
        opts = ["MODEL.DEVICE", DEVICE, *(word for norm in norms for word in (norm, "BN"))]
        return load_config(str(ROOT / "configs" / "demo" / f"{name}.yaml"), [*opts, *overrides])

    return load
