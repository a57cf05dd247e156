import json
import shutil

import pytest
import torch
from toy_runs import RETINANET, classification, command, detection, retinanet, toy_setup, tree

import train_net
from detnas import SearchSpace, get_space
from detnas.evaluation.fixed_paths import fixed_paths
from detnas.search.evaluator import CandidateEvaluator
from detnas.training.trainer import build_trainer

UNIFORM = ["all_3x3", "all_5x5", "all_7x7", "all_xception_3x3"]
FEW = {"SUPERNET.EVAL_RANDOM_PATHS": 2, "SEARCH.RECALIBRATION_IMAGES": 4}
NAMES = [*UNIFORM, "random_1", "random_2"]
TASKS = {
    "classifier": ("toy_1_pretrain_supernet", classification, "classification/top1"),
    "faster": ("toy_2_train_supernet", detection, "bbox/AP"),
    "retinanet": (RETINANET, retinanet, "bbox/AP"),
}


def trainer_of(task, root, folder, resume=False, **overrides):
    config, data, metric = TASKS[task]
    keys = {name.replace("__", "."): value for name, value in overrides.items()}
    overrides = {**data(root), **FEW, "SEARCH.METRIC": metric, "MODEL.WEIGHTS": "", "OUTPUT_DIR": folder, **keys}
    return build_trainer(toy_setup(config, overrides), resume)


def evaluation_of(trainer):
    """The :class:`detnas.evaluation.fixed_paths.FixedPathsEvaluation` of a trainer."""
    return next(hook.evaluation for hook in trainer._hooks if hasattr(hook, "evaluation"))


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


def evaluations(folder):
    return {line["iteration"]: line for line in lines(folder) if "supernet/mean" in line}


def test_the_fixed_paths_are_those_of_each_op_and_random_ones_by_the_seed():
    space = get_space("300M")
    paths = fixed_paths(space, seed=0, num_random=2)
    assert list(paths) == NAMES
    assert [paths[name] for name in UNIFORM] == [(op,) * 20 for op in range(4)]
    assert paths == fixed_paths(space, seed=0, num_random=2)
    other = fixed_paths(space, seed=1, num_random=2)
    assert all(other[name] != paths[name] for name in NAMES[4:])


def test_a_space_without_an_op_has_no_network_of_it_and_no_path_comes_twice():
    space = SearchSpace("custom", 16, (64, 160), (1, 1), ops=("shufflenet_5x5", "xception_3x3"))
    paths = fixed_paths(space, 0, 12)
    assert list(paths) == ["all_5x5", "all_xception_3x3", "random_1", "random_2"]
    assert sorted(paths.values()) == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("task", ["classifier", "retinanet"])
def test_training_evaluates_the_fixed_paths_and_goes_on_as_if_it_had_not(toy_root, tmp_path, task):
    states, numbers, metric = {}, {}, TASKS[task][2]
    # The first backward pass of a process through RetinaNet's norms rounds in another way than all later ones.
    trainer_of(task, toy_root, tmp_path / "first", SOLVER__MAX_ITER=1).train(0, 1)
    for period in (0, 2):
        folder = tmp_path / str(period)
        trainer = trainer_of(task, toy_root, folder, SOLVER__MAX_ITER=3, TEST__EVAL_PERIOD=period)
        trainer.train(0, 3)
        assert all(module.training for module in trainer.model.modules())
        states[period] = trainer.model.state_dict()
        numbers[period] = getattr(trainer.model, "loss_normalizer", None)
    assert [name for name, value in states[2].items() if not torch.equal(states[0][name], value)] == []
    assert numbers[0] == numbers[2] and (numbers[0] is not None) == task.startswith("retinanet")
    found = evaluations(tmp_path / "2")
    # The one in the middle, and that at the end; the file is written every 20 iterations.
    assert list(found) == [1, 3]
    for line in found.values():
        assert line["supernet/mean"] == pytest.approx(sum(line[f"{name}/{metric}"] for name in NAMES) / len(NAMES))
        assert -1 <= line.get("supernet/agreement", 0) <= 1


def test_a_supernet_says_its_mean_and_how_far_the_ranking_changed_and_nothing_of_augmentation(toy_root, tmp_path):
    trainer = trainer_of("classifier", toy_root, tmp_path)
    evaluation = evaluation_of(trainer)
    said = (tmp_path / "log.txt").read_text().count("used in training")
    results = evaluation()
    assert list(results["supernet"]) == ["mean"]
    scores = {name: results[name]["classification"]["top1"] for name in NAMES}
    evaluation.previous_scores = {name: -score for name, score in scores.items()}
    assert evaluation()["supernet"] == {"mean": results["supernet"]["mean"], "agreement": pytest.approx(-1)}
    text = (tmp_path / "log.txt").read_text()
    first, second = [line for line in text.splitlines() if "Supernet: " in line]
    words = f"Supernet: mean classification/top1 {sum(scores.values()) / 6:.2f} over 6 paths"
    assert first.endswith(words)
    assert second.endswith(f"{words}, rank agreement with the evaluation before -1.00 (tau)")
    assert text.count("used in training") == said


def test_a_metric_that_is_not_among_the_results_costs_the_mean_alone(toy_root, tmp_path):
    trainer = trainer_of("classifier", toy_root, tmp_path, SEARCH__METRIC="bbox/AP")
    assert list(evaluation_of(trainer)()) == NAMES
    assert "no path has a bbox/AP (SEARCH.METRIC)" in (tmp_path / "log.txt").read_text()


def scored(line):
    """A line of metrics.json without what depends on how fast this machine is."""
    return {name: value for name, value in line.items() if name.startswith(("all_", "random_", "supernet/"))}


def test_a_resumed_training_compares_with_the_evaluation_before_the_interruption(toy_root, tmp_path):
    settings = {"SOLVER__MAX_ITER": 60, "TEST__EVAL_PERIOD": 20, "SOLVER__CHECKPOINT_PERIOD": 20}
    settings |= {"SOLVER__IMS_PER_BATCH": 2}
    trainer_of("classifier", toy_root, tmp_path / "whole", **settings).train(0, 60)
    whole = evaluations(tmp_path / "whole")
    assert ["supernet/agreement" in line for line in whole.values()] == [False, True, True]
    # Killed at the end, or while it evaluated after iteration 40.
    for folder, first_lost in ((tmp_path / "at the end", 61), (tmp_path / "while it evaluated", 39)):
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "last_checkpoint").write_text("model_0000039.pth")
        there = [json.dumps(line) for line in lines(folder) if line["iteration"] < first_lost]
        (folder / "metrics.json").write_text("".join(f"{line}\n" for line in there))
        trainer = trainer_of("classifier", toy_root, folder, resume=True, **settings)
        assert trainer.start_iter == 40
        trainer.train(40, 60)
        assert list(evaluations(folder)) == list(whole)
        assert all(scored(line) == scored(whole[number]) for number, line in evaluations(folder).items())


def test_a_path_has_the_results_that_the_search_gives_it(toy_root, tmp_path):
    trainer = trainer_of("faster", toy_root, tmp_path, SOLVER__MAX_ITER=30, SOLVER__BASE_LR=0.02)
    trainer.train(0, 30)
    (results,) = evaluations(tmp_path).values()
    evaluator = CandidateEvaluator(evaluation_of(trainer).cfg, str(tmp_path / "model_final.pth"))
    for name, path in fixed_paths(get_space("tiny"), 0, 2).items():
        assert evaluator(path)["bbox/AP"] == pytest.approx(results[f"{name}/bbox/AP"], abs=0.01)


def test_eval_only_of_a_supernet_shows_the_fixed_paths_of_what_was_trained_and_their_mean(toy_root, tmp_path, capsys):
    overrides = {**classification(toy_root), **FEW, "SEARCH.METRIC": "classification/top1", "OUTPUT_DIR": tmp_path}
    args = command("toy_1_pretrain_supernet", {**overrides, "SOLVER.MAX_ITER": 2})
    train_net.main(args)
    before, last = tree(tmp_path)["metrics.json"], lines(tmp_path)[-1]
    capsys.readouterr()
    args.eval_only = True
    results, shown = train_net.main(args), capsys.readouterr().out
    assert list(results) == [*NAMES, "supernet"]
    for name in NAMES:
        top1 = results[name]["classification"]["top1"]
        assert top1 == last[f"{name}/classification/top1"]
        assert any(line.split()[0] == name and f"{top1:.2f}" in line for line in shown.splitlines() if line)
    assert f"Supernet: mean classification/top1 {last['supernet/mean']:.2f} over 6 paths" in shown
    assert tree(tmp_path)["metrics.json"] == before
