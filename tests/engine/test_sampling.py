import random
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from detnas import DetNASSupernet, get_space
from detnas.engine.sampling import SetPath, UniformSampler

SPACE = get_space("tiny")


def test_an_iteration_always_has_the_same_path():
    sampler = UniformSampler(SPACE, seed=3)
    forwards = [sampler(i) for i in range(50)]
    random.seed(1)
    torch.manual_seed(1)
    assert [UniformSampler(SPACE, seed=3)(i) for i in reversed(range(50))] == forwards[::-1]


def test_sampling_leaves_the_global_random_state_alone():
    random.seed(5)
    state = random.getstate()
    UniformSampler(SPACE, seed=0)(7)
    assert random.getstate() == state


def test_seeds_and_iterations_give_other_paths():
    paths = {UniformSampler(SPACE, seed)(i) for seed in range(10) for i in range(10)}
    # Two of 100 paths out of 65536 are equal in 7% of all draws.
    assert len(paths) >= 98


def test_every_op_is_drawn_as_often_at_every_block():
    sampler = UniformSampler(SPACE, seed=0)
    counts = Counter((block, op) for i in range(2000) for block, op in enumerate(sampler(i)))
    assert len(counts) == SPACE.num_blocks * len(SPACE.ops)
    # 500 expected with a standard deviation of 19.
    assert all(400 < count < 600 for count in counts.values())


def test_neighbouring_blocks_are_drawn_independently():
    sampler = UniformSampler(SPACE, seed=0)
    pairs = Counter(sampler(i)[:2] for i in range(3200))
    assert len(pairs) == 16 and all(140 < count < 260 for count in pairs.values())


def test_a_path_of_any_space_is_legal_in_it():
    for name in ("tiny", "300M", "1.3G"):
        space = get_space(name)
        assert space.check(UniformSampler(space, 0)(0)) == UniformSampler(space, 0)(0)


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: torch.nn.Sequential(net)])
def test_the_hook_sets_the_path_of_its_iteration(wrap):
    supernet = DetNASSupernet(SPACE)
    sampler = UniformSampler(SPACE, seed=2)
    hook = SetPath(wrap(supernet), sampler)
    for iteration in (0, 1, 17):
        hook.trainer = SimpleNamespace(iter=iteration)
        hook.before_step()
        assert supernet.path == sampler(iteration)
