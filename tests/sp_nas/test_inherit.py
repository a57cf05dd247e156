import pytest
import torch

import spnas
from spnas import SerialCode, inherit
from spnas.morphs import expand, new_stage, swap, swap_doubling

START = SerialCode.parse("111-211-21")
BLOCKS = ["basic", "bottleneck", "32x4d"]


def network(code, block="basic"):
    """With running statistics and weights of norms unlike those of a new network."""
    model = spnas.SPNet(code, block=block, base_width=16)
    for name, value in model.state_dict().items():
        if "norm" in name and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return model


def child_of(parent, code, model, block="basic"):
    """The child, the names of its weights that are new, and those of the parent's that were dropped."""
    child, before = network(code, block), model.state_dict()
    state = inherit(parent, before, code, child.state_dict())
    kept = {id(value) for value in before.values()}
    new = {name for name, value in state.items() if id(value) not in kept}
    dropped = {name for name, value in before.items() if id(value) not in set(map(id, state.values()))}
    child.load_state_dict(state)
    return child, new, dropped


def outputs(model, images, training):
    # A forward pass in training changes the running statistics.
    before = {name: value.clone() for name, value in model.state_dict().items()}
    maps = model.train(training)(images)
    model.load_state_dict(before)
    return maps


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "morph",
    [lambda code: expand(code, 0, 1), lambda code: expand(expand(code, 2, 1), 1, 3), new_stage],
)
def test_a_network_that_grew_computes_the_same_bit_for_bit(block, training, morph):
    model, images = network(START, block), torch.randn(2, 3, 64, 96)
    child, new, dropped = child_of(START, morph(START), model, block)
    before, after = outputs(model, images, training), outputs(child, images, training)
    assert all(torch.equal(before[name], after.pop(name)) for name in before)
    assert new and not dropped
    # A new stage is the last map, sub-sampled.
    assert [name for name in after if torch.equal(after[name], before["res4"][..., ::2, ::2])] == list(after)
    assert len(after) == (morph is new_stage)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("code, new", [(expand(START, 1, 2), "res3.2."), (new_stage(START), "res5.0.")])
def test_a_new_block_learns(block, code, new):
    child, names, _ = child_of(START, code, network(START, block), block)
    assert names and all(name.startswith(new) for name in names)
    optimizer = torch.optim.SGD(child.parameters(), 0.1)
    moved = [set(), set()]
    for names in moved:
        before = {name: p.detach().clone() for name, p in child.named_parameters()}
        optimizer.zero_grad()
        sum(value.square().mean() for value in child.train()(torch.randn(2, 3, 64, 64)).values()).backward()
        optimizer.step()
        names |= {n for n, p in child.named_parameters() if n.startswith(new) and not torch.equal(p, before[n])}
    last = "conv2" if block == "basic" else "conv3"
    # At first the weight of 0 alone, which lets the gradient through to all others.
    assert {name for name in moved[0] if name.endswith("weight")} == {f"{new}{last}.norm.weight"}
    assert moved[1] == {name for name, _ in child.named_parameters() if name.startswith(new)}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_swap_copies_every_tensor_and_back_again_restores_the_outputs(block):
    model, images = network(START, block).eval(), torch.randn(1, 3, 64, 64)
    moved = swap(START, 0, -2)
    child, new, dropped = child_of(START, moved, model, block)
    assert not new and not dropped
    # Resolutions move, so it is another function.
    assert not torch.equal(child.eval()(images)["res4"], model(images)["res4"])
    back, _, _ = child_of(moved, swap(moved, 0, 2), child, block)
    before, after = model(images), back.eval()(images)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_moved_doubling_keeps_what_still_fits():
    code = SerialCode.parse("111-211-21")
    _, new, dropped = child_of(code, swap_doubling(code, 3, 1), network(code))
    assert {name.split(".conv")[0].split(".shortcut")[0] for name in new} == {"res3.0", "res3.1"}
    assert any(name.startswith("res3.0.shortcut") for name in dropped)


def test_a_block_of_a_head_is_no_block_of_the_network():
    # Detectron2's detectors without an FPN have a roi_heads.res5; no id is that of its blocks.
    code, head = SerialCode.parse("11-1-1"), "roi_heads.res5.0.conv1.weight"
    parent = {f"backbone.{name}": value for name, value in network(code).state_dict().items()}
    child = {f"backbone.{name}": value for name, value in network(expand(code, 0, 1)).state_dict().items()}
    parent[head], child[head] = torch.ones(2), torch.zeros(2)
    state = inherit(code, parent, expand(code, 0, 1), child)
    assert state[head].all() and set(map(id, parent.values())) <= set(map(id, state.values()))


def test_weights_that_are_not_of_the_code_are_refused():
    code, state = SerialCode.parse("11-1-1"), network(SerialCode.parse("11-1-11")).state_dict()
    with pytest.raises(ValueError, match='weights have 5 blocks; code "11-1-1" has 4'):
        inherit(code, state, code, network(code).state_dict())


def test_heads_and_laterals_are_inherited_by_name_where_their_shapes_agree():
    parent, child = SerialCode.parse("11-21-21"), SerialCode.parse("112-1-21")
    state = {"backbone.fpn_lateral2.weight": torch.ones(8, 4), "head.weight": torch.ones(2), "old": torch.ones(1)}
    fresh = {"backbone.fpn_lateral2.weight": torch.zeros(8, 8), "head.weight": torch.zeros(2), "b": torch.zeros(1)}
    inherited = inherit(parent, state, child, fresh)
    assert inherited == {**fresh, "head.weight": state["head.weight"]}
