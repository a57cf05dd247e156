"""A small supernet, its search, and its exported best path, for tests of export and prediction."""

import pytest
from export_runs import export
from toy_runs import command, detection, own_loggers

import search_net
import train_net

_SEARCH = {
    "SEARCH.POPULATION": 2,
    "SEARCH.NUM_PARENTS": 1,
    "SEARCH.NUM_MUTATE": 1,
    "SEARCH.NUM_CROSS": 0,
    "SEARCH.GENERATIONS": 1,
    # Random paths: a network of one op learns nothing in so few iterations.
    "SEARCH.INITIAL": "()",
    "SEARCH.RECALIBRATION_IMAGES": 8,
    "SEARCH.METRIC": "bbox/AP50",
}


@pytest.fixture(scope="session")
def searched_supernet(toy_root, tmp_path_factory):
    """Folder of a supernet of a few iterations, with a search of two candidates on its training images."""
    folder = tmp_path_factory.mktemp("supernet") / "run"
    solver = {"SOLVER.MAX_ITER": 50, "SOLVER.BASE_LR": 0.02, "TEST.EVAL_PERIOD": 50}
    data = {**detection(toy_root, test="train"), **_SEARCH, **solver, "OUTPUT_DIR": folder, "MODEL.WEIGHTS": ""}
    with own_loggers():
        train_net.main(command("toy_2_train_supernet", data))
        search_net.main(command("toy_2_train_supernet", data, parser=search_net.parser()))
    return folder


@pytest.fixture(scope="session")
def exported(searched_supernet):
    """Folder of the supernet's best path, exported in all formats."""
    return export("--config-file", searched_supernet / "best.yaml", "--format", "torchscript", "--format", "onnx")
