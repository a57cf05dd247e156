import copy
import itertools

import pytest
import torch
from detectron2.export.torchscript_patch import patch_builtin_len
from torch import nn

import detnas
import spnas
from detnas.cost.flops import shapes_alone
from detnas.modeling.weights import load_weights

SMALL = {"block": "basic", "base_width": 4}


def parameters(code, **settings):
    with shapes_alone():
        network = spnas.SPNet(code, stem="3x3", shortcut="projection", **settings)
    return {name: p.numel() for name, p in network.named_parameters()}


def state_of(network, prefix=""):
    return {prefix + name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("name, untied", [("SPNet-ECP", 162_727_200), ("SPNet-XB-COCO", 154_066_080)])
def test_tied_copies_cost_their_fusion_and_untied_ones_a_stage_each(name, untied):
    network = spnas.PUBLISHED[name]
    code, block, (serial, counts) = network.code, network.block, network.code.split("_")
    assert sum(parameters(code, block=block).values()) == network.params
    own = parameters(code, block=block, tied=False)
    stages = {f"res{k}": count for k, count in enumerate(map(int, counts.split("-")), 2)}
    copies = sum(
        stages[name.split(".")[0]] * size
        for name, size in parameters(serial, block=block).items()
        if not name.startswith("stem")
    )
    fusion = sum(size for name, size in own.items() if ".fuse." in name)
    assert sum(own.values()) == sum(parameters(serial, block=block).values()) + copies + fusion == untied


@pytest.mark.parametrize("training", [True, False])
def test_every_network_starts_as_its_serial_one(training):
    torch.manual_seed(0)
    serial = spnas.SPNet("1-2-1", **SMALL)
    image = torch.randn(2, 3, 36, 44)
    with torch.no_grad():
        # Statistics and norms that are not those of a new network.
        for _ in range(2):
            serial(image)
        for name, value in serial.named_parameters():
            if "norm" in name:
                value.uniform_(0.5, 1.5)
        # The running statistics move in training.
        state = state_of(serial)
        expected = serial.train(training)(image)
        for counts in itertools.product(range(4), repeat=3):
            network = spnas.SPNet(f"1-2-1_{'-'.join(map(str, counts))}", **SMALL)
            network.load_state_dict(copy.copy(state))
            maps = network.train(training)(image)
            assert all(torch.equal(maps[name], value) for name, value in expected.items()), counts


def steps(network, number):
    """Train; the names of the weights of fusion convs that have had a gradient after each step."""
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    image, reached = torch.randn(2, 3, 64, 64), []
    for _ in range(number):
        optimizer.zero_grad()
        sum(value.square().mean() for value in network(image).values()).backward()
        optimizer.step()
        names = [n for n, p in network.named_parameters() if n.endswith("norm.weight") and ".fuse." in n]
        reached.append({n for n in names if network.get_parameter(n).grad.abs().max() > 0})
    return names, reached


def test_the_first_gradients_reach_every_fusion_and_untied_ones_row_by_row():
    for counts in itertools.product(range(4), repeat=3):
        names, reached = steps(spnas.SPNet(f"1-2-1_{'-'.join(map(str, counts))}", **SMALL), 1)
        assert len(names) == sum(count > 0 for count in counts)
        assert reached == [set(names)], counts
    names, reached = steps(spnas.SPNet("1-2-1_0-3-0", tied=False, **SMALL), 3)
    assert len(names) == 3 and [len(found) for found in reached] == [1, 2, 3]


class Recorder(nn.Module):
    """Stands for a stage, a copy or a fusion: puts out a one at a place of its own, and logs what has come in."""

    def __init__(self, name, log, places):
        super().__init__()
        self.name, self.log, self.places = name, log, places
        places.append(name)

    def forward(self, x):
        came = [name for name, value in zip(self.places, x[0, :, 0, 0]) if value]
        self.log.append(f"{self.name}: {' + '.join(came)}")
        output = torch.zeros(1, 99, 1, 1)
        output[0, self.places.index(self.name)] = 1
        return output


@pytest.mark.parametrize("counts, calls", [
    (
        "3-2-3",
        """stem:
        copy 1.2: stem
        copy 1.1: stem + fuse 1.2
        copy 1.0: stem + fuse 1.1
        stage 1: stem + fuse 1.0
        copy 2.1: copy 1.1
        copy 2.0: copy 1.0 + fuse 2.1
        stage 2: stage 1 + fuse 2.0
        copy 3.2: copy 2.1
        copy 3.1: copy 2.1 + fuse 3.2
        copy 3.0: copy 2.0 + fuse 3.1
        stage 3: stage 2 + fuse 3.0""",
    ),
    (
        "1-0-2",
        """stem:
        copy 1.0: stem
        stage 1: stem + fuse 1.0
        stage 2: stage 1
        copy 3.1: stage 2
        copy 3.0: stage 2 + fuse 3.1
        stage 3: stage 2 + fuse 3.0""",
    ),
])
def test_rows_are_handed_over_as_in_the_paper(counts, calls):
    network, log, places = spnas.SPNet(f"1-2-1_{counts}", **SMALL), [], []
    network.stem = Recorder("stem", log, places)
    stages = []
    for number, (name, parallel) in enumerate(zip(network.stage_names, network.parallel), 1):
        # The outermost first.
        for row in range(len(parallel.rows)):
            label = f"{number}.{len(parallel.rows) - 1 - row}"
            parallel.rows[row] = Recorder(f"copy {label}", log, places)
            parallel.fuse[row] = Recorder(f"fuse {label}", log, places)
        stages.append(Recorder(f"stage {number}", log, places))
        setattr(network, name, stages[-1])
    network.stages = stages
    network(torch.zeros(1, 99, 1, 1))
    copies = [line[5:8] for line in log if line.startswith("copy")]
    assert [line for line in log if line.startswith("fuse")] == [f"fuse {row}: copy {row}" for row in copies]
    handed = [line.strip() for line in log if not line.startswith("fuse")]
    assert handed == [line.strip() for line in calls.split("\n")]


def trained(code):
    """A network whose fusion does something, as that of a trained one, for inference."""
    network = spnas.SPNet(code, stem="3x3", block="bottleneck", base_width=8)
    for stage in network.parallel:
        for fuse in stage.fuse:
            nn.init.uniform_(fuse.norm.weight, 0.5, 1)
    network(torch.randn(4, 3, 64, 64))
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("tied", [True, False])
def test_each_row_has_statistics_of_its_own(tied):
    network = spnas.SPNet("1-2-1_0-2-1", tied=tied, **SMALL)
    stage, (outer, inner) = network.res3, network.parallel[1].rows
    # What a fusion adds: the rows see other inputs then.
    nn.init.ones_(network.parallel[1].fuse[0].norm.weight)
    network(torch.randn(4, 3, 64, 64))
    weights = [module[0].conv1.weight for module in (stage, outer, inner)]
    means = [module[0].conv1.norm.running_mean for module in (stage, outer, inner)]
    assert (weights[0] is weights[1] is weights[2]) is tied
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(means[::2], 2))
    assert len({mean.data_ptr() for mean in means}) == 3
    # A copy of a network is tied in itself.
    other = copy.deepcopy(network)
    assert (other.parallel[1].rows[1][0].conv1.weight is other.res3[0].conv1.weight) is tied
    assert other.res3[0].conv1.weight is not stage[0].conv1.weight


def test_recalibration_gives_each_row_the_statistics_of_what_it_sees():
    torch.manual_seed(0)
    network = trained("1-2-1_1-2-1").train()
    norms = {name: m for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    means, images = {}, torch.randn(8, 3, 48, 48)
    for name, norm in norms.items():
        norm.register_forward_pre_hook(lambda _, x, name=name: means.__setitem__(name, x[0].mean((0, 2, 3)).detach()))
    network(images)
    seen = dict(means)
    detnas.recalibrate_bn(network, [images])
    assert len(seen) == len(norms) and any(".rows.1." in name for name in seen)
    for name, norm in norms.items():
        assert torch.allclose(norm.running_mean, seen[name], atol=1e-5), name


def test_what_is_frozen_stays_as_it_is_in_all_rows():
    network = spnas.SPNet("1-2-1_1-1-0", freeze_at=2, **SMALL)
    free = {name.split(".rows")[0].split(".fuse")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert {name if "parallel" in name else name.split(".")[0] for name in free} == {"res3", "res4", "parallel.1"}
    before = state_of(network.train())
    network(torch.randn(2, 3, 32, 32))
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and not any(name.startswith(("stem", "res2", "parallel.0")) for name in moved)


def test_weights_of_the_serial_network_start_a_parallel_one(tmp_path):
    serial, network = (spnas.SPNet(code, **SMALL) for code in ("1-2-1", "1-2-1_0-1-2"))
    serial(torch.randn(4, 3, 32, 32))
    torch.save({"model": state_of(serial, "backbone.bottom_up.")}, tmp_path / "serial.pth")
    detector = nn.ModuleDict({"backbone": nn.ModuleDict({"bottom_up": network})})
    load_weights(detector, str(tmp_path / "serial.pth"), new_heads=True)
    for row in (network.res3, network.parallel[1].rows[0]):
        assert torch.equal(row[0].conv1.norm.running_mean, serial.res3[0].conv1.norm.running_mean)
    # A trained parallel network must be whole.
    with pytest.raises(ValueError, match="names are missing in the file .*parallel"):
        load_weights(detector, str(tmp_path / "serial.pth"))


def test_it_is_traced_and_scripted_to_equal_outputs():
    network, image = trained("11-12-21-1_1-0-2-3"), torch.randn(1, 3, 64, 96)
    traced = torch.jit.trace(lambda x: tuple(network(x).values()), image)
    with patch_builtin_len():
        scripted = torch.jit.script(network)
    for other in (torch.randn(1, 3, 64, 96), image):
        maps = network(other)
        assert all(map(torch.equal, traced(other), maps.values()))
        assert all(torch.equal(scripted(other)[name], value) for name, value in maps.items())
