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
def test_outputs_stay_the_same_up_to_rounding(model_batches, layout):
    model, batches = model_batches
    for path in (PATH, OTHER):
        activate(model, find_supernet(model).space, path)
        expected = features(model, batches[0])
        with folded_batch_norms(model, layout):
            found = features(model, batches[0])
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4 * value.abs().max().item())


def test_no_norm_on_the_path_runs(model_batches):
    model, batches = model_batches
    ran = []
    for norm in norms(model):
        norm.register_forward_hook(lambda *_: ran.append(1))
    with folded_batch_norms(model), torch.no_grad():
        model(batches[0])
    assert not ran
    with torch.no_grad():
        model(batches[0])
    assert ran


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


def test_norms_in_training_are_left_alone(model_batches):
    model, _ = model_batches
    model.train()
    with folded_batch_norms(model):
        assert len(norms(model)) > 20 and any(m.norm is not None for m in model.modules() if hasattr(m, "norm"))
        supernet = find_supernet(model)
        assert isinstance(supernet.stem[1], torch.nn.BatchNorm2d)


def test_a_frozen_stem_is_folded_too(model_batches):
    model, batches = model_batches
    find_supernet(model).freeze(1)
    expected = features(model, batches[0])
    with folded_batch_norms(model):
        assert isinstance(find_supernet(model).stem[1], torch.nn.Identity)
        found = features(model, batches[0])
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4 * value.abs().max().item())
