import contextlib

import pytest
import torch
from supernet_runs import OTHER, PATH, find_supernet, norms

from detnas.batch_norm.folding import folded_batch_norms
from detnas.modeling.choices import activate

LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True)
def whole_float32(monkeypatch):
    """A GPU rounds what goes into a conv to TF32, and folding gives it other weights to round."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def model_batches(model_batches):
    model, batches = model_batches
    return model.eval(), batches


def features(model, batch):
    with torch.no_grad():
        return model.backbone(torch.stack([x["image"] for x in batch]).float().to(model.device))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("freeze_at", [0, 1])
def test_outputs_stay_the_same_up_to_rounding_also_with_a_frozen_stem(model_batches, layout, freeze_at):
    model, batches = model_batches
    find_supernet(model).freeze(freeze_at)
    for path in (PATH, OTHER):
        activate(model, find_supernet(model).space, path)
        expected = features(model, batches[0])
        with folded_batch_norms(model, layout):
            assert isinstance(find_supernet(model).stem[1], torch.nn.Identity)
            found = features(model, batches[0])
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4 * value.abs().max().item())


def test_no_norm_on_the_path_runs_but_in_training(model_batches):
    model, batches = model_batches
    ran = []
    for norm in norms(model):
        norm.register_forward_hook(lambda *_: ran.append(1))
    with folded_batch_norms(model), torch.no_grad():
        model(batches[0])
    assert not ran
    for mode in (False, True):
        with folded_batch_norms(model.train(mode)) if mode else contextlib.nullcontext():
            features(model, batches[0])
        assert ran
        ran.clear()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_afterwards_all_is_as_it_was(model_batches, layout):
    model, batches = model_batches
    tensors = dict(model.state_dict(keep_vars=True))
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    expected = features(model, batches[0])
    with pytest.raises(KeyError), folded_batch_norms(model, layout):
        raise KeyError
    after = model.state_dict(keep_vars=True)
    assert after.keys() == tensors.keys() and all(after[name] is tensor for name, tensor in tensors.items())
    assert all(torch.equal(copies[name], tensor) for name, tensor in tensors.items())
    assert all(torch.equal(value, expected[name]) for name, value in features(model, batches[0]).items())
