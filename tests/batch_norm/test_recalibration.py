import pytest
import torch
from detectron2.modeling import build_model
from supernet_runs import equal, find_supernet, model_and_batches, norms, statistics
from toy_runs import RETINANET, classification, retinanet, toy_setup

from detnas import recalibrate_bn
from detnas.modeling.choices import inactive_modules


@pytest.fixture
def classifier(toy_root, tmp_path):
    return model_and_batches("toy_1_pretrain_supernet", classification, toy_root, tmp_path)


def test_mean_and_variance_are_pooled_over_all_images_of_batches_of_unequal_size(model_batches):
    model, batches = model_batches
    batches = [batches[0] + batches[1], batches[2]]
    recalibrate_bn(model, batches)
    conv, norm, _ = find_supernet(model).stem
    images = torch.stack([x["image"] for batch in batches for x in batch]).float().to(model.device)
    with torch.no_grad():
        values = conv(images).double().transpose(0, 1).flatten(1)  # (C, all pixels of all images)
    torch.testing.assert_close(norm.running_mean.double(), values.mean(dim=1), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(norm.running_var.double(), values.var(dim=1, correction=0), rtol=1e-3, atol=0)


def test_nothing_changes_but_statistics_and_mode(model_batches):
    model, batches = model_batches
    for i, norm in enumerate(norms(model)):
        norm.momentum = 0.01 + i / 1000
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}
    momenta, state = [norm.momentum for norm in norms(model)], torch.get_rng_state()
    for mode in (True, False):
        recalibrate_bn(model.train(mode), batches)
        assert not any(m.training for m in model.modules())
    assert equal(parameters, {name: p.detach() for name, p in model.named_parameters()})
    assert all(p.grad is None for p in model.parameters())
    assert [norm.momentum for norm in norms(model)] == momenta and torch.equal(torch.get_rng_state(), state)


def test_all_old_statistics_on_the_path_are_replaced_and_unsampled_ops_stay_as_they_are(model_batches):
    model, batches = model_batches
    before = [(op, {k: v.clone() for k, v in op.state_dict().items()}) for op in inactive_modules(model)]
    recalibrate_bn(model, batches)
    expected = statistics(model)
    off_path = {id(m) for op in inactive_modules(model) for m in op.modules()}
    for norm in norms(model):
        if id(norm) not in off_path:
            norm.running_mean.fill_(7)
            norm.running_var.fill_(7)
    recalibrate_bn(model, batches)
    assert equal(statistics(model), expected)
    assert all(equal(state, op.state_dict()) for op, state in before)


def test_a_pass_that_fails_leaves_nothing_behind(classifier):
    model, batches = classifier
    before = [norm.momentum for norm in norms(model)]
    with pytest.raises(KeyError):
        recalibrate_bn(model, [batches[0], [{"label": 0}]])
    assert [norm.momentum for norm in norms(model)] == before
    assert not any(m.training for m in model.modules())
    recalibrate_bn(model, batches)
    first = statistics(model)
    recalibrate_bn(model, batches)
    assert equal(statistics(model), first)


def test_a_single_network_can_be_recalibrated_too(toy_root, tmp_path, classifier):
    overrides = {**classification(toy_root), "MODEL.DETNAS.ARCH": "21301203", "OUTPUT_DIR": tmp_path}
    model = build_model(toy_setup("toy_1_pretrain_supernet", overrides))
    before = statistics(model)
    recalibrate_bn(model, classifier[1])
    assert all(not torch.equal(before[key], value) for key, value in statistics(model).items())


@pytest.mark.parametrize("norm", ["BN", "naiveSyncBN"])
def test_norms_of_retinanets_head_are_recalibrated_where_each_level_has_its_own(norm, toy_root, tmp_path):
    model, batches = model_and_batches(
        RETINANET, lambda root: {**retinanet(root), "MODEL.RETINANET.NORM": norm}, toy_root, tmp_path
    )
    before = statistics(model.head)
    if norm == "naiveSyncBN":
        with pytest.raises(ValueError, match="naiveSyncBN does in MODEL.RETINANET.NORM"):
            recalibrate_bn(model, batches)
    else:
        recalibrate_bn(model, batches)
        after = statistics(model.head)
        assert len(after) > 0 and not any(torch.equal(before[name], after[name]) for name in after)
