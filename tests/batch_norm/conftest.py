import pytest
from supernet_runs import model_and_batches
from toy_runs import TASKS


@pytest.fixture(params=list(TASKS))
def model_batches(request, toy_root, tmp_path):
    """A supernet and three batches, both as :func:`supernet_runs.model_and_batches` gives them."""
    config, data = TASKS[request.param]
    return model_and_batches(config, data, toy_root, tmp_path)
