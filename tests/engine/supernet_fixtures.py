"""Fixtures shared by the tests of batch norms."""

import pytest
from supernet_runs import model_and_batches
from toy_runs import classification, detection

KINDS = {
    "classifier": ("toy_1_pretrain_supernet", classification),
    "detector": ("toy_2_train_supernet", detection),
}


@pytest.fixture(params=list(KINDS))
def model_batches(request, toy_root, tmp_path):
    """A supernet and three batches, both as :func:`supernet_runs.model_and_batches` gives them."""
    config, data = KINDS[request.param]
    return model_and_batches(config, data, toy_root, tmp_path)
