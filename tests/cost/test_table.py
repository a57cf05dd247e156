import functools
import itertools
import json
import random
import statistics
from pathlib import Path

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from toy_runs import build_classifier

from detnas import OPS, PUBLISHED, SPACES, Constraint, CostTable, DetNASNet, DetNASSupernet, get_space
from detnas.cost.costs import all_costs
from detnas.cost.flops import shapes_alone

GOLDEN = json.loads((Path(__file__).parents[1] / "golden_numbers.json").read_text())
NETWORKS = GOLDEN["networks"]
UNIFORM = GOLDEN["uniform_networks_300M"]
BOUNDS = GOLDEN["space_bounds"]["300M"]
SMALL = GOLDEN["block_multiply_adds_224"]["300M"]
#: Golden numbers name networks by task and size, the zoo by the names of the release.
ZOO_NAMES = {
    "COCO-FPN-300M": "DetNAS-COCO-FPN-300M",
    "COCO-RetinaNet-300M": "DetNAS-COCO-RetinaNet-300M",
    "COCO-FPN-1.3G": "DetNASNet-1.3G",
}


@functools.lru_cache
def measure(space, resolution=(224, 224)):
    return CostTable.measure(get_space(space), resolution)


def conv_flops(network, resolution):
    """fvcore counts one flop a multiply-add."""
    analysis = FlopCountAnalysis(network.eval(), torch.zeros(1, 3, *resolution)).unsupported_ops_warnings(False)
    return analysis.by_operator()["conv"]


def num_parameters(model):
    return sum(p.numel() for p in model.parameters())


def assert_classifier(model, flops, params):
    linear = FlopCountAnalysis(model.linear, torch.zeros(1, model.linear.in_features)).total()
    assert conv_flops(model.backbone, (224, 224)) + linear == flops and num_parameters(model) == params


@pytest.mark.parametrize("name", NETWORKS)
def test_golden_flops_and_parameters_of_a_published_network(name):
    golden, space = NETWORKS[name], name.split("-")[-1]
    code, table = golden["code"], measure(space)
    assert get_space(space).parse(PUBLISHED[ZOO_NAMES[name]].arch) == tuple(code)
    assert table.flops(code) == golden["backbone_multiply_adds_224"] and table.params(code) == golden["backbone_params"]
    assert measure(space, (800, 1344)).flops(code) == golden["backbone_multiply_adds_800x1344"]
    model = build_classifier(space, ZOO_NAMES[name])
    assert_classifier(model, golden["with_imagenet_classifier_224"], golden["params_with_classifier"])


@pytest.mark.parametrize("op", UNIFORM)
def test_golden_flops_and_parameters_of_a_uniform_network(op):
    golden, path = UNIFORM[op], (OPS.index(op),) * 20
    assert measure("300M").flops(path) == golden["backbone_macs_224"]
    assert measure("300M").params(path) == golden["backbone_params"]
    model = build_classifier("300M", str(OPS.index(op)) * 20)
    assert_classifier(model, golden["classifier_macs_224"], golden["classifier_params"])


def test_golden_bounds_of_the_small_space_and_their_paths():
    table, bounds = measure("300M"), (BOUNDS["min_backbone_macs"], BOUNDS["max_backbone_macs"])
    assert table.bounds("backbone_flops") == (table.flops(BOUNDS["argmin"]), table.flops(BOUNDS["argmax"])) == bounds


def test_golden_flops_and_parameters_of_stem_blocks_and_supernet():
    table, sizes = measure("300M"), []
    with shapes_alone():
        network, image = DetNASNet("300M", "0" * 20), torch.empty(1, 3, 224, 224)
    for block in itertools.chain(network.stage1, network.stage2, network.stage3, network.stage4):
        block.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].shape[2:]))
    network(image)
    for b, block, size in zip(SMALL["blocks"], table.space.blocks(), sizes, strict=True):
        assert (b["name"], b["in"]) == (f"{block.stage}{'abcdefgh'[block.position]}", block.in_channels)
        assert (b["out"], b["stride"], (b["input_hw"],) * 2) == (block.out_channels, block.stride, size)
        assert list(table.table["backbone_flops"][block.index]) == b["multiply_adds_by_choice"]
        assert list(table.table["backbone_params"][block.index]) == b["params_by_choice"]
    assert table.stem["backbone_flops"] == SMALL["stem"]
    assert num_parameters(DetNASSupernet("300M")) == GOLDEN["supernet_params"]["300M backbone, all choices"]


def test_golden_flops_of_the_classifiers_tail():
    model = build_classifier("300M", "0" * 20)
    with_tail, without = (conv_flops(m, (224, 224)) for m in (model.backbone, model.backbone.bottom_up))
    assert with_tail - without == SMALL["last_conv"]
    assert model.linear.weight.numel() == SMALL["fc"]


def test_golden_mean_and_deviation_of_the_flops_of_random_paths():
    table, golden = measure("300M"), GOLDEN["random_sampling_300M"]
    blocks = table.table["backbone_flops"]
    mean = table.stem["backbone_flops"] + sum(map(statistics.mean, blocks))
    std = sum(map(statistics.pvariance, blocks)) ** 0.5
    assert (round(mean, -3), round(std, -3)) == (golden["mean"], golden["std"])


def test_golden_share_of_random_paths_within_300e6_flops():
    table, rng = measure("300M"), random.Random(0)
    within = [table.flops(table.space.random(rng)) <= 300e6 for _ in range(5000)]
    # The standard error of 5000 draws is 0.0066.
    assert statistics.mean(within) == pytest.approx(GOLDEN["random_sampling_300M"]["share_at_or_below_300e6"], abs=0.02)


@pytest.mark.parametrize("space, resolution, num_paths", [
    ("tiny", (96, 96), 3), ("tiny", (75, 130), 3), ("300M", (75, 130), 2), ("1.3G", (75, 130), 1),
])
def test_the_flops_of_random_paths_are_those_that_fvcore_counts_on_the_built_network(space, resolution, num_paths):
    rng = random.Random(f"{space} {resolution}")
    table = measure(space, resolution)
    for _ in range(num_paths):
        path = table.space.random(rng)
        assert table.flops(path) == conv_flops(DetNASNet(space, path), resolution)


@pytest.mark.parametrize("space", SPACES)
def test_the_parameters_of_a_random_path_are_those_of_the_built_network_at_any_resolution(space):
    path = get_space(space).random(random.Random(2))
    with shapes_alone():
        network = DetNASNet(space, path)
    assert measure(space, (75, 130)).params(path) == num_parameters(network)


def test_the_costs_of_a_path_hold_all_metrics_by_name():
    table, path = measure("tiny"), (0, 1, 2, 3, 0, 1, 2, 3)
    assert all_costs(table, path) == {"backbone_flops": table.flops(path), "backbone_params": table.params(path)}


@pytest.mark.parametrize("metric", ["backbone_flops", "backbone_params"])
def test_the_bounds_are_the_least_and_the_most_over_all_paths(metric):
    table = measure("tiny")
    # All 4^8 paths: the sums of all combinations, block by block.
    costs = {table.stem[metric]}
    for ops in table.table[metric]:
        costs = {cost + op for cost in costs for op in ops}
    assert table.bounds(metric) == (min(costs), max(costs))


@pytest.mark.parametrize("text, constraint", [
    ("backbone_flops <= 300e6", Constraint("backbone_flops", 300e6)),
    ("backbone_flops<=300000000", Constraint("backbone_flops", 300e6)),
    ("250e6 <= backbone_flops <= 300e6", Constraint("backbone_flops", 300e6, 250e6)),
    ("  1e6<=backbone_params<=2.5e6 ", Constraint("backbone_params", 2.5e6, 1e6)),
])
def test_a_constraint_is_read_with_one_limit_or_two(text, constraint):
    assert Constraint.parse(text) == constraint


@pytest.mark.parametrize(
    "text",
    ["", "300e6", "backbone_flops", "backbone_flops < 300e6", "backbone_flops >= 300e6", "backbone_flops <= many",
     "few <= backbone_flops <= 300e6", "backbone_flops <= 300e6 <= 400e6", "backbone_flops <= 300 M"],
)
def test_a_constraint_that_reads_otherwise_is_refused_with_an_example(text):
    with pytest.raises(ValueError) as e:
        Constraint.parse(text)
    assert str(e.value) == f'constraint "{text}": write it as "backbone_flops <= 300e6"'


@pytest.mark.parametrize("limits", [(237222720, 0), (1e12, 365472576), (300e6, 250e6), (300e6, 300e6)])
def test_both_limits_of_a_constraint_are_included_and_can_be_reached(limits):
    most, least = limits
    constraint = Constraint("backbone_flops", max=most, min=least)
    assert constraint.allows(most) and constraint.allows(least)
    assert not constraint.allows(most + 1) and not constraint.allows(least - 1)
    constraint.check_reachable("300M", measure("300M").bounds("backbone_flops"))
