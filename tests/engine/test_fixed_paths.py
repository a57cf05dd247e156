import json

import pytest
import torch
from toy_runs import classification, command, detection, toy_setup

import train_net
from detnas import SearchSpace, get_space
from detnas.engine.fixed_paths import FixedPaths, fixed_paths
from detnas.engine.trainer import build_trainer
from detnas.search.evaluator import CandidateEvaluator

pytest_plugins = ["toy_fixtures"]
NAMES = ["all_3x3", "all_xception", "random_1", "random_2", "random_3"]


def test_the_fixed_paths_are_two_uniform_networks_and_random_ones_by_the_seed():
    space = get_space("300M")
    paths = fixed_paths(space, seed=0, num_random=3)
    assert list(paths) == NAMES
    assert paths["all_3x3"] == (0,) * 20 and paths["all_xception"] == (3,) * 20
    assert paths == fixed_paths(space, seed=0, num_random=3)
    other = fixed_paths(space, seed=1, num_random=3)
    assert all(other[name] != paths[name] for name in NAMES[2:])


def test_a_space_without_an_op_has_no_network_of_it():
    space = SearchSpace("own", 16, (64, 160), (2, 2), ops=("shufflenet_5x5", "xception_3x3"))
    assert fixed_paths(space, 0, 1) | {"random_1": None} == {"all_xception": (1, 1, 1, 1), "random_1": None}


@pytest.mark.parametrize(
    "task, data, metric",
    [
        ("toy_1_pretrain_supernet", classification, "classification/top1"),
        ("toy_2_train_supernet", detection, "bbox/AP"),
    ],
)
def test_training_evaluates_the_fixed_paths_and_goes_on_as_if_it_had_not(toy_root, tmp_path, task, data, metric):
    weights = {}
    for period in (0, 2):
        folder = tmp_path / str(period)
        overrides = {**data(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": folder, "SOLVER.MAX_ITER": 5}
        trainer = build_trainer(toy_setup(task, {**overrides, "TEST.EVAL_PERIOD": period}))
        trainer.train(0, 5)
        assert trainer.model.training
        weights[period] = trainer.model.state_dict()
    assert all(torch.equal(weights[0][name], value) for name, value in weights[2].items())
    lines = [json.loads(line) for line in (tmp_path / "2" / "metrics.json").read_text().splitlines()]
    found = {line["iteration"]: line for line in lines if f"all_3x3/{metric}" in line}
    # In the middle, and at the end.
    assert list(found) == [3, 5]
    assert all(0 <= line[f"{name}/{metric}"] <= 100 for line in found.values() for name in NAMES)


def test_a_path_has_the_results_that_the_search_gives_it(toy_root, tmp_path):
    overrides = {**detection(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path, "SOLVER.MAX_ITER": 30}
    cfg = toy_setup("toy_2_train_supernet", {**overrides, "SOLVER.BASE_LR": 0.02})
    trainer = build_trainer(cfg)
    trainer.train(0, 30)
    results = FixedPaths(cfg, trainer.model)()
    evaluator = CandidateEvaluator(cfg, str(tmp_path / "model_final.pth"))
    for name, path in fixed_paths(get_space("tiny"), 0, 3).items():
        assert evaluator(path)["bbox/AP"] == pytest.approx(results[name]["bbox"]["AP"], abs=0.01)


def test_eval_only_of_a_supernet_evaluates_the_fixed_paths_of_what_was_trained(toy_root, tmp_path):
    overrides = {**classification(toy_root), "OUTPUT_DIR": tmp_path, "SOLVER.MAX_ITER": 2}
    args = command("toy_1_pretrain_supernet", overrides)
    train_net.main(args)
    args.eval_only = True
    results = train_net.main(args)
    assert list(results) == NAMES
    last = json.loads((tmp_path / "metrics.json").read_text().splitlines()[-1])
    for name in NAMES:
        assert results[name]["classification"]["top1"] == last[f"{name}/classification/top1"]
