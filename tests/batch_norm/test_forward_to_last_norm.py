import contextlib

import pytest
import torch
from detectron2.modeling.proposal_generator import RPN
from detectron2.utils.events import EventStorage
from supernet_runs import OTHER, PATH, equal, find_supernet, model_and_batches, norms, statistics
from toy_runs import RETINANET, classification, detection, retinanet

from detnas import recalibrate_bn
from detnas.batch_norm.forward_to_last_norm import ForwardToLastNorm
from detnas.modeling.choices import activate


def plain_head(root):
    """No norms in the box head: the last one is in the FPN."""
    return {**detection(root), "MODEL.ROI_BOX_HEAD.NORM": ""}


def bare_fpn(root):
    """No norms but in the backbone, whose last one is another one for each path."""
    return {**plain_head(root), "MODEL.FPN.NORM": ""}


KINDS = {
    "classifier": ("toy_1_pretrain_supernet", classification),
    "norms in the head": ("toy_2_train_supernet", detection),
    "norms up to the FPN": ("toy_2_train_supernet", plain_head),
    "norms in the backbone": ("toy_2_train_supernet", bare_fpn),
    "a norm for each level": (RETINANET, retinanet),
}


@pytest.fixture(params=list(KINDS))
def model_batches(request, toy_root, tmp_path):
    config, data = KINDS[request.param]
    return model_and_batches(config, data, toy_root, tmp_path)


@contextlib.contextmanager
def anchors_drawn_apart():
    """The whole pass draws anchors for the RPN's loss; here without moving the generator that draws the RoIs."""
    original = RPN.label_and_sample_anchors

    def apart(self, anchors, instances):
        with torch.random.fork_rng(devices=[anchors[0].device] if anchors[0].device.type == "cuda" else []):
            return original(self, anchors, instances)

    RPN.label_and_sample_anchors = apart
    try:
        yield
    finally:
        RPN.label_and_sample_anchors = original


def test_statistics_are_those_of_the_whole_pass_and_the_parameters_have_one_name_each(model_batches):
    model, batches = model_batches
    partial = ForwardToLastNorm(model)
    names = [name for name, _ in partial.named_parameters()]
    assert len(names) == len(list(model.parameters()))
    for path in (PATH, OTHER, PATH):
        activate(model, find_supernet(model).space, path)
        recalibrate_bn(partial, batches)
        assert [name for name, _ in partial.named_parameters()] == names
        found = statistics(model)
        with anchors_drawn_apart():
            recalibrate_bn(model, batches)
        assert equal(found, statistics(model))


def test_nothing_behind_the_last_norm_runs(model_batches):
    model, batches = model_batches
    partial = ForwardToLastNorm(model)
    ran = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda module, args, output, name=name: ran.append(name))
    recalibrate_bn(partial, batches[:1])
    first_pass = set(ran)
    ran.clear()
    recalibrate_bn(partial, batches)
    behind = {name for name in first_pass - set(ran) if name}
    assert behind
    # Whatever stayed away holds no norm, but for the parts that were under way when the pass ended.
    modules = dict(model.named_modules())
    whole = {name for name in behind if not any(name in (n, "") or n.startswith(name + ".") for n in ran)}
    assert whole and not any(norms(modules[name]) for name in whole)


def test_no_loss_is_computed_and_the_methods_are_back_afterwards(toy_root, tmp_path):
    model, batches = model_and_batches("toy_2_train_supernet", detection, toy_root, tmp_path)
    partial = ForwardToLastNorm(model).train()
    with EventStorage() as storage, torch.no_grad():
        partial(batches[0])
        partial(batches[0])
        assert not any("rpn" in name for name in storage.latest())
        losses = model(batches[0])
    assert {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"} <= losses.keys()
