"""The four steps through the scripts, on small generated data."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from toy_runs import RETINANET, SMALL_RETINANET, SMALL_SEARCH, classification, command, detection, own_loggers

import search_net
import train_net
from detnas import get_space
from detnas.launch.setup import launch
from detnas.search.evaluator import flatten
from detnas.search.log import SearchLog

TINY = get_space("tiny")
SEARCH = {
    **SMALL_SEARCH,
    "SEARCH.GENERATIONS": 3,
    "SEARCH.RECALIBRATION_IMAGES": 8,
    "SEARCH.RECALIBRATION_BATCH": 4,
    "SEARCH.METRIC": "bbox/AP50",
}


def train(config, overrides):
    with own_loggers():
        launch(train_net.main, command(config, overrides))
    return Path(overrides["OUTPUT_DIR"])


def arguments(supernet, toy_root, folder, *flags, **overrides):
    """Command line of a search on the training images, so that a supernet of a few iterations finds something."""
    data = detection(toy_root, test="train")
    overrides = {**data, **SEARCH, "OUTPUT_DIR": folder, "MODEL.WEIGHTS": supernet / "model_final.pth", **overrides}
    return command("toy_2_train_supernet", overrides, *flags, parser=search_net.parser())


def search(*args, **overrides):
    with own_loggers():
        return search_net.main(arguments(*args, **overrides))


def outcome(folder):
    """Header and candidates of a search, without the times."""
    log = SearchLog(str(folder), TINY)
    return log.header, [(c.network, c.generation, c.score, c.metrics, c.costs, c.error) for c in log.history()]


def last_metrics(folder):
    """The last value of everything that a training reported."""
    lines = (folder / "metrics.json").read_text().splitlines()
    return {name: value for line in lines for name, value in json.loads(line).items()}


@pytest.fixture(scope="module")
def pretrained(toy_root, tmp_path_factory):
    """Step 1: folder of a supernet trained as a classifier."""
    folder = tmp_path_factory.mktemp("steps") / "1"
    return train("toy_1_pretrain_supernet", {**classification(toy_root), "OUTPUT_DIR": folder, "SOLVER.MAX_ITER": 10})


@pytest.fixture(scope="module")
def supernet(pretrained, toy_root):
    """Step 2: folder of a supernet trained as a detector."""
    weights = {"MODEL.WEIGHTS": pretrained / "model_final.pth", "OUTPUT_DIR": pretrained.parent / "2"}
    solver = {"SOLVER.MAX_ITER": 50, "SOLVER.BASE_LR": 0.02}
    return train("toy_2_train_supernet", {**detection(toy_root), **weights, **solver})


@pytest.fixture(scope="module")
def searched(supernet, toy_root):
    """Step 3: folder of a search without an interruption."""
    folder = supernet.parent / "3"
    search(supernet, toy_root, folder)
    return folder


def test_step_1_leaves_a_supernet_and_the_config_of_its_run(pretrained):
    state = torch.load(pretrained / "model_final.pth", weights_only=True)["model"]
    assert sum(name.startswith("backbone.bottom_up.stage4.1.3.") for name in state) > 10
    assert yaml.safe_load((pretrained / "config.yaml").read_text())["MODEL"]["CLASSIFIER"]["NUM_CLASSES"] == 4
    # The evaluation after the last iteration.
    assert last_metrics(pretrained)["iteration"] == 10


def test_step_2_moved_the_weights_of_step_1(pretrained, supernet):
    before, after = (torch.load(f / "model_final.pth", weights_only=True)["model"] for f in (pretrained, supernet))
    weights = [name for name in before if name.startswith("backbone.bottom_up.") and name.endswith(".weight")]
    assert len(weights) > 100 and all(not torch.equal(before[name], after[name]) for name in weights)
    assert last_metrics(supernet)["total_loss"] > 0


def test_step_3_evaluates_every_candidate_once_and_some_find_objects(searched):
    header, candidates = outcome(searched)
    assert header["space"] == "tiny" and header["metric"] == "bbox/AP50"
    paths, generations, scores = ([c[i] for c in candidates] for i in range(3))
    assert generations == [0] * 4 + [1] * 4 + [2] * 4 and len(set(paths)) == 12
    assert all(costs["backbone_flops"] <= 30e6 for *_, costs, _ in candidates)
    assert all(error is None for *_, error in candidates)
    assert len(set(scores)) > 6 and max(scores) > 0.5


def test_evaluating_the_best_again_gives_the_logged_metrics_and_only_with_recalibration(
    supernet, searched, toy_root, tmp_path, capsys
):
    best = SearchLog(str(searched), TINY).best()[0]
    capsys.readouterr()
    metrics = search(supernet, toy_root, searched, "--eval-only")
    assert metrics == pytest.approx(best.metrics, abs=1e-6)
    assert TINY.format(best.network) in capsys.readouterr().out
    written = json.loads((searched / "evaluation.json").read_text())
    assert written["metrics"] == metrics and written["network"] == TINY.format(best.network)
    assert search(supernet, toy_root, searched, "--eval-only", "--no-recalibration") != best.metrics
    assert not json.loads((searched / "evaluation.json").read_text())["recalibrated"]


def test_a_search_stopped_within_a_candidate_ends_as_one_that_was_not(supernet, searched, toy_root, tmp_path):
    # What a kill leaves, which search/test_kills.py does to real processes: whole lines, and a torn one.
    whole = (searched / "search.jsonl").read_bytes().splitlines(keepends=True)
    finished = b"".join(whole[:9])
    (tmp_path / "search.jsonl").write_bytes(finished + whole[9][:50])
    search(supernet, toy_root, tmp_path)
    # What was finished is kept as it was, times included: nothing of it was evaluated again.
    assert (tmp_path / "search.jsonl").read_bytes().startswith(finished)
    assert outcome(tmp_path) == outcome(searched)
    assert (tmp_path / "search.jsonl").read_bytes().count(b"\n") == 13


def test_step_4_trains_the_best_network_from_its_own_pretraining(searched, toy_root, tmp_path):
    arch = {"MODEL.DETNAS.ARCH": searched / "best.yaml"}
    data, solver = classification(toy_root), {"SOLVER.MAX_ITER": 4}
    pretrained = train("toy_4_pretrain", {**data, **arch, **solver, "OUTPUT_DIR": tmp_path / "pretrain"})
    assert 0 <= last_metrics(pretrained)["classification/top1"] <= 100

    data, solver = detection(toy_root, "train"), {"SOLVER.MAX_ITER": 40, "SOLVER.BASE_LR": 0.02}
    weights = {"MODEL.WEIGHTS": pretrained / "model_final.pth", "OUTPUT_DIR": tmp_path / "retrain"}
    retrained = train("toy_4_retrain", {**data, **arch, **weights, **solver})
    assert last_metrics(retrained)["bbox/AP50"] > 0.5
    best = SearchLog(str(searched), TINY).best()[0]
    saved = yaml.safe_load((retrained / "config.yaml").read_text())["MODEL"]["DETNAS"]
    assert saved["ARCH"] == TINY.format(best.network)

    overrides = {**data, **arch, "OUTPUT_DIR": retrained, "MODEL.WEIGHTS": ""}
    with own_loggers():
        results = train_net.main(command("toy_4_retrain", overrides, "--eval-only"))
    assert results["bbox"]["AP"] == pytest.approx(last_metrics(retrained)["bbox/AP"], abs=1e-6)


def test_the_winners_weights_give_the_logged_figures_without_the_search(searched, toy_root, tmp_path):
    overrides = {**detection(toy_root, "train"), "OUTPUT_DIR": tmp_path}
    with own_loggers():
        results = train_net.main(command(searched / "best.yaml", overrides, "--eval-only"))
    best = SearchLog(str(searched), TINY).best()[0]
    assert best.score > 0.5
    # The search folds norms into convs and takes several images at once, which rounds in another way.
    assert flatten(results) == pytest.approx(best.metrics, abs=1e-3)


def test_step_4_goes_on_from_the_supernets_weights_heads_included(searched, toy_root, tmp_path):
    start = {"MODEL.DETNAS.ARCH": searched / "best.yaml", "MODEL.WEIGHTS": searched / "best.pth"}
    solver = {"SOLVER.MAX_ITER": 1, "SOLVER.BASE_LR": 0.0}
    folder = train("toy_4_retrain", {**detection(toy_root, "test"), **start, **solver, "OUTPUT_DIR": tmp_path})
    assert f"Loaded {searched}/best.pth: the whole model\n" in (folder / "log.txt").read_text()
    files = searched / "best.pth", folder / "model_final.pth"
    before, after = (torch.load(file, weights_only=True)["model"] for file in files)
    weights = [name for name in before if name.endswith(".weight")]
    assert {"roi_heads.box_predictor.cls_score.weight", "backbone.fpn_lateral2.weight"} < set(weights)
    assert all(torch.equal(before[name], after[name]) for name in weights)


def test_a_retinanet_supernet_trains_and_is_searched(pretrained, toy_root, tmp_path):
    overrides = {**detection(toy_root), **SMALL_RETINANET, **SEARCH, "OUTPUT_DIR": tmp_path / "run"}
    train(RETINANET, {**overrides, "MODEL.WEIGHTS": pretrained / "model_final.pth", "SOLVER.MAX_ITER": 3})
    args = command(RETINANET, {**overrides, "SEARCH.GENERATIONS": 1}, parser=search_net.parser())
    with own_loggers():
        log = search_net.main(args)
    assert len(log.history()) == 4 and all(c.error is None for c in log.history())
