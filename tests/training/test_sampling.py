import random
from collections import Counter

import pytest
import torch
from supernet_runs import find_supernet
from toy_runs import detection, toy_setup

from detnas import DetNASSupernet, get_space
from detnas.training.sampling import FairSampler, PathSampling, UniformSampler
from detnas.training.trainer import build_trainer

SPACE, LARGE = get_space("tiny"), get_space("300M")


def test_a_path_depends_on_seed_and_iteration_alone():
    draw = UniformSampler(LARGE, seed=3)
    forwards = list(map(draw, range(20)))
    random.seed(1)
    torch.manual_seed(1)
    state = random.getstate()
    assert list(map(draw, reversed(range(20)))) == forwards[::-1] and random.getstate() == state
    assert len({*forwards, *map(UniformSampler(LARGE, seed=4), range(20))}) == 40


def test_every_op_is_drawn_as_often_at_every_block_and_neighbouring_blocks_independently():
    paths = [UniformSampler(SPACE, seed=0)(i) for i in range(3200)]
    counts = Counter((block, op) for path in paths for block, op in enumerate(path))
    # 800 expected with a standard deviation of 24.
    assert len(counts) == SPACE.num_blocks * len(SPACE.ops) and all(680 < count < 920 for count in counts.values())
    pairs = Counter(path[:2] for path in paths)
    assert len(pairs) == 16 and all(140 < count < 260 for count in pairs.values())


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: torch.nn.Sequential(net)])
def test_the_path_of_an_iteration_is_set(wrap):
    supernet = DetNASSupernet(SPACE)
    sampler = UniformSampler(SPACE, seed=2)
    activate = PathSampling(wrap(supernet), sampler)
    for iteration in (0, 1, 17):
        activate(iteration)
        assert supernet.path == sampler(iteration)


@pytest.mark.parametrize("parts", [1, 4])
def test_fair_paths_in_a_row_hold_each_op_of_each_block_once(parts):
    sampler = FairSampler(SPACE, seed=1, parts=parts)
    paths = [sampler(iteration, part) for iteration in range(8 // parts) for part in range(parts)]
    for turn in (paths[:4], paths[4:]):
        assert all(sorted(ops) == [0, 1, 2, 3] for ops in zip(*turn))
    assert paths[:4] != paths[4:]


def test_each_part_of_a_fair_update_trains_a_path_of_its_own(toy_root, tmp_path):
    overrides = {**detection(toy_root), "OUTPUT_DIR": tmp_path, "SUPERNET.PATH_SAMPLING": "fair", "MODEL.WEIGHTS": ""}
    cfg = toy_setup("toy_2_train_supernet", {**overrides, "SOLVER.ACCUMULATE": 4, "DATASETS.TEST": "()"})
    trainer = build_trainer(cfg)
    trainer.train(0, 1)
    # After an iteration of uniform paths, three of four ops have no gradient.
    for block in find_supernet(trainer.model).choice_blocks():
        assert all(p.grad is not None for op in block for p in op.parameters())
