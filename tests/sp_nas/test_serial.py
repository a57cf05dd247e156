"""Serial searches through the command line, on the generated images."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from toy_runs import classification, detection, on_a_cpu, result

import train_net
from detnas.command_line import argument_parser
from detnas.config.load import load_config
from detnas.search.log import read_log

AP = "bbox/AP"
#: how often a search is stopped at most
STOPS = 4


def lines(folder):
    return [json.loads(line) for line in (folder / "search.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return tmp_path_factory.mktemp("searched") / "run"


@pytest.fixture
def searched(search, uninterrupted):
    """Folder of a search without an interruption."""
    if not (uninterrupted / "best.pth").is_file():
        search(uninterrupted, SEARCH__EVALUATE_INHERITED=True)
    return uninterrupted


def test_a_search_leaves_a_log_a_winner_and_the_weights_of_the_front_alone(searched, search, check_winner):
    header, *candidates = lines(searched)
    assert (header["method"], header["space"], header["start"]) == ("spnas_serial", "serial", "1-2-1")
    assert [c["generation"] for c in candidates] == [0, 1, 1, 2, 2] and candidates[0]["network"] == "1-2-1"
    assert [len(c["parents"]) for c in candidates] == [0, 1, 1, 1, 1]
    assert all(c["score"] == c["metrics"][AP] and c["costs"]["detector_flops"] > 0 for c in candidates)
    assert [f"inherited/{AP}" in c["metrics"] for c in candidates] == [False, True, True, True, True]
    log = read_log(str(searched))
    best = log.best()[0]
    kept = {path.stem for path in (searched / "candidates").glob("*.pth")}
    assert str(best.network) in kept and not [path for path in (searched / "candidates").iterdir() if path.is_dir()]
    for c in log.history():
        dominated = any(
            d.score >= c.score and d.costs["backbone_flops"] <= c.costs["backbone_flops"] and d != c
            for d in log.history()
        )
        assert dominated or str(c.network) in kept
    check_winner(searched, search)
    for flag in ("--list", "--front", "--report"):
        search(searched, flag)
    assert (searched / "report.html").is_file()


@on_a_cpu
def test_a_search_goes_on_where_it_stopped_and_repeats_nothing(searched, search, tmp_path, stopped_at):
    whole, calls = result(read_log(str(searched))), stopped_at(1, 3, 6)
    for _ in range(3):
        with pytest.raises(SystemExit, match="Stopped; "):
            search(tmp_path / "again", SEARCH__EVALUATE_INHERITED=True)
    search(tmp_path / "again", SEARCH__EVALUATE_INHERITED=True)
    assert result(read_log(str(tmp_path / "again"))) == whole and len(calls) == 5 + 3


@pytest.mark.parametrize("damage, words", [
    (lambda file: file.unlink(), "do not exist"),
    (lambda file: file.write_bytes(file.read_bytes()[:999]), "is damaged"),
])
def test_weights_of_a_parent_that_are_lost_end_the_search(search, tmp_path, refused, stopped_at, damage, words):
    stopped_at(2)
    with pytest.raises(SystemExit, match="Stopped; "):
        search(tmp_path / "run")
    damage(tmp_path / "run" / "candidates" / "1-2-1.pth")
    said = refused(search, tmp_path / "run")
    assert words in said and "The search needs them: put the file back, or begin in another OUTPUT_DIR" in said


def test_a_training_that_was_interrupted_goes_on_from_its_checkpoint(search, tmp_path, monkeypatch):
    from detnas.training import trainer

    save, calls = trainer.SafeCheckpointer.save, []

    def killed_after(self, name, **more):
        save(self, name, **more)
        calls.append(name)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer.SafeCheckpointer, "save", killed_after)
    with pytest.raises(SystemExit, match="Stopped; 0 candidates"):
        search(tmp_path / "again", SEARCH__GENERATIONS=1)
    log = search(tmp_path / "again", SEARCH__GENERATIONS=1)
    # The first half, then the second; not the first again.
    assert calls == ["model_0000000", "model_0000001", "model_final"]
    assert result(log) == result(search(tmp_path / "whole", SEARCH__GENERATIONS=1))


def test_the_child_is_the_best_of_the_morphs_that_were_tried(search, tmp_path, stopped_at):
    settings = {"SEARCH__SELECT": "line", "SEARCH__TRIALS": 3, "SEARCH__CHILDREN": 1, "SEARCH__GENERATIONS": 4}
    settings |= {"SEARCH__RECALIBRATION_IMAGES": 4}
    stopped_at(3)
    with pytest.raises(SystemExit, match="Stopped; 2 candidates"):
        search(tmp_path / "run", **settings)
    log = search(tmp_path / "run", **settings)
    history, trials = log.history(), log.events
    assert [c.parents for c in history] == [(), *((c.network,) for c in history[:-1])]
    # Stopped after its trial, a generation is not tried again.
    assert [(event["event"], event["generation"], len(event["metrics"])) for event in trials] == [
        ("trial", generation, 3) for generation in (1, 2, 3)
    ]
    for c, event in zip(history[1:], trials):
        assert event["metrics"][str(c.network)] == max(event["metrics"].values())


class Stopped(BaseException):
    """Raised wherever the search is."""


@on_a_cpu
def test_a_search_that_is_stopped_anywhere_ends_as_an_uninterrupted_one(searched, search, tmp_path):
    def stop(number, frame):
        raise Stopped

    # The first search of a process, ``searched``, imports what the next ones have.
    whole, start = result(read_log(str(searched))), time.perf_counter()
    search(tmp_path / "whole", SEARCH__EVALUATE_INHERITED=True)
    took, rng, stops = time.perf_counter() - start, random.Random(0), 0
    before = signal.signal(signal.SIGALRM, stop)
    try:
        while True:
            try:
                # The last one may take its time.
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.1, 0.6) * took if stops < STOPS else 0)
                search(tmp_path / "stopped", SEARCH__EVALUATE_INHERITED=True)
                break
            except (Stopped, SystemExit):
                stops += 1
                # Stopped between the two ends of a block without gradients, this process would have none.
                torch.set_grad_enabled(True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stops
    assert result(read_log(str(tmp_path / "stopped"))) == whole


@pytest.fixture
def reignition(toy_root, tmp_path):
    """Settings of a search that is stuck, and then trains a classifier on the generated images."""
    keys = {"MAX_ITER": 2, "IMS_PER_BATCH": 4, "WARMUP_ITERS": 0, "REFERENCE_WORLD_SIZE": 0}
    keys = {**classification(toy_root), **{f"SOLVER.{key}": value for key, value in keys.items()}}
    keys |= {"INPUT.CLASSIFIER.SIZE": 32, "DATALOADER.NUM_WORKERS": 0}
    base = str(Path(__file__).resolve().parents[2] / "configs" / "SPNAS" / "Base-reignite.yaml")
    cfg = load_config(base, [str(word) for pair in keys.items() for word in pair])
    (tmp_path / "reignite.yaml").write_text(cfg.dump())
    return {
        **{"SEARCH__REIGNITIONS": 1, "SEARCH__STUCK": 1, "SEARCH__REIGNITION_CONFIG": tmp_path / "reignite.yaml"},
        # A seed whose first network is better than the next ones.
        **{"SEARCH__GENERATIONS": 3, "SEARCH__CHILDREN": 1, "SOLVER__BASE_LR": 0.0, "SEED": 3},
    }


def test_a_search_that_is_stuck_is_reignited_once_and_not_again_when_it_is_taken_up(search, tmp_path, reignition):
    settings = {**reignition, "SEARCH__GENERATIONS": 5}
    log = search(tmp_path / "run", **settings)
    (event,) = log.events
    assert (event["event"], event["network"]) == ("reignition", str(log.history()[0].network))
    assert "classification/top1" in event["metrics"] and not list((tmp_path / "run").glob("reignition_*"))
    reignited = [c for c in log.history() if c.generation == event["generation"]]
    assert [list(map(str, c.parents)) for c in reignited] == [[event["network"]]]
    before = (tmp_path / "run" / "search.jsonl").read_text()
    search(tmp_path / "run", **settings)
    assert (tmp_path / "run" / "search.jsonl").read_text() == before


def test_a_reignition_that_was_interrupted_ends_as_an_uninterrupted_one(search, tmp_path, reignition, monkeypatch):
    from spnas import reignite

    whole = search(tmp_path / "whole", **reignition)
    save, stops = reignite.save, [1]

    def stopping(state, file):
        save(state, file)
        # The weights are back beside the heads, and the log does not say so yet.
        if stops and "candidates" in file:
            stops.pop()
            raise KeyboardInterrupt

    monkeypatch.setattr(reignite, "save", stopping)
    with pytest.raises(SystemExit):
        search(tmp_path / "again", **reignition)
    again = search(tmp_path / "again", **reignition)
    assert result(again) == result(whole)
    assert [e["metrics"] for e in again.events] == [e["metrics"] for e in whole.events]


@pytest.mark.parametrize("settings, words", [
    ({"MODEL__SPNAS__CODE": "1--1"}, 'MODEL.SPNAS.CODE: code "1--1": stage 2 is empty'),
    ({"SEARCH__MIN_BLOCKS": 4}, "3 stages and 3 blocks; SEARCH.MAX_STAGES is 6, MIN_BLOCKS 4"),
    ({"SEARCH__CONSTRAINTS": "('backbone_flops <= 1e6',)"}, "which breaks the limit backbone_flops <= 1.0M"),
    ({"SEARCH__OBJECTIVES": "['joules']"}, 'SEARCH.OBJECTIVES: unknown cost "joules"'),
    ({"SEARCH__REIGNITIONS": 1}, "SEARCH.REIGNITIONS 1 needs SEARCH.REIGNITION_CONFIG"),
    (
        {"SEARCH__REIGNITIONS": 1, "SEARCH__REIGNITION_CONFIG": "nowhere.yaml"},
        "SEARCH.REIGNITION_CONFIG: config file nowhere.yaml does not exist",
    ),
    (
        {"SEARCH__REIGNITIONS": 1, "SEARCH__REIGNITION_CONFIG": "configs/SPNAS/Base-FPN.yaml"},
        "trains no classifier",
    ),
    (
        {"SEARCH__REIGNITIONS": 1, "SEARCH__REIGNITION_CONFIG": "configs/SPNAS/reignite_imagenet.yaml"},
        "SEARCH.REIGNITION_CONFIG: ",
    ),
    ({"SEARCH__ASYNCHRONOUS": True, "SEARCH__REIGNITIONS": 1}, "set SEARCH.REIGNITIONS 0"),
    ({"SEARCH__ASYNCHRONOUS": True, "SEARCH__TRIALS": 2}, "set SEARCH.TRIALS 1"),
    ({"SEARCH__SELECT": "best"}, 'SEARCH.SELECT is "best"; it must be "front", "line" or "random"'),
    ({f"SEARCH__MORPHS__{name}": 0.0 for name in ("SWAP", "EXPAND", "NEW_STAGE")}, "SEARCH.MORPHS are all 0"),
    ({"MODEL__SPNAS__BLOCK": "big"}, 'MODEL.SPNAS.BLOCK is "big"; it must be "basic", "bottleneck" or'),
    ({"MODEL__SPNAS__NORM": "FrozenBN"}, "MODEL.SPNAS.NORM FrozenBN"),
    ({"SEARCH__RACING": True}, 'SEARCH.RACING: SEARCH.METHOD "spnas_serial" evaluates every candidate to the end'),
    ({"SEARCH__CONSTRAINTS": "('detector_latency_ms <= 9',)"}, '_latency_ms: SEARCH.METHOD "spnas_serial" can'),
    ({"SEARCH__FRONT_WINNERS": 3}, 'SEARCH.METHOD "spnas_serial" keeps the best candidate alone'),
])
def test_what_no_search_can_begin_with_is_one_sentence(search, tmp_path, refused, settings, words):
    assert words in refused(search, tmp_path / "run", **settings)
    assert not (tmp_path / "run" / "search.jsonl").exists()


def test_a_training_is_refused_before_it_begins_where_its_search_would_be(search, tmp_path, refused, toy_root):
    keys = {**detection(toy_root), "OUTPUT_DIR": tmp_path, "MODEL.DEVICE": "cpu", "SEARCH.CONSTRAINTS": "('flops',)"}
    words = ["--config-file", "configs/SPNAS/Base-FPN.yaml", *(str(word) for pair in keys.items() for word in pair)]
    assert "constraint" in refused(train_net.main, argument_parser().parse_args(words))


def test_iterations_go_with_the_batch_of_a_worker_and_a_latency_is_measured_and_logged(search, tmp_path, refused):
    limits = "('backbone_latency_ms <= 1e4', 'backbone_flops <= 300e6')"
    settings = {"SEARCH__LATENCY_RESOLUTION": "(32, 32)", "SEARCH__GENERATIONS": 1, "SEARCH__CONSTRAINTS": limits}
    settings |= {"SOLVER__REFERENCE_WORLD_SIZE": 2, "SEARCH__CANDIDATE_ITERS": 4}
    log = search(tmp_path / "run", **settings)
    assert log.history()[0].costs["backbone_latency_ms"] > 0 and "median of 20 runs" in log.header["latency"]
    assert (log.header["images_per_batch"], log.header["candidate_iters"]) == (1, 8)
    # What has lost its log is another search as soon as its settings differ.
    os.remove(tmp_path / "run" / "search.jsonl")
    words = refused(search, tmp_path / "run", **{**settings, "SEARCH__CANDIDATE_ITERS": 5})
    assert words.startswith(f"{tmp_path}/run/candidates holds candidates of another search: give another OUTPUT_DIR")
