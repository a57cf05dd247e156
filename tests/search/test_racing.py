import dataclasses
import json

import pytest
import torch
from detectron2.modeling import build_model
from ray_fakes import RACE, Shuffled, raced
from toy_runs import TASKS, toy_setup

from detnas import get_space
from detnas.config.load import with_settings
from detnas.search.candidate import Candidate
from detnas.search.evaluator import CandidateEvaluator
from detnas.search.evolution import Searcher
from detnas.search.executor import LOOKS, LocalExecutor
from detnas.search.log import SearchLog
from detnas.search.loop import run_asynchronous, run_search
from detnas.search.racing import Race, build_race, rung_sizes

TINY = get_space("tiny")
A, B = (2, 1, 3, 0, 1, 2, 0, 3), (0, 0, 1, 1, 2, 2, 3, 3)


def search(folder, evaluate=raced, executor=LocalExecutor, race=RACE, asynchronous=False, **settings):
    folder.mkdir(exist_ok=True)
    log = SearchLog(str(folder), TINY, {"space": "tiny"})
    searcher = Searcher(TINY, lambda path: True, 8, num_parents=3, num_mutate=4, num_cross=2)
    try:
        if asynchronous:
            run_asynchronous(searcher, executor(evaluate, "AP"), log, 32, race=race, **settings)
        else:
            run_search(searcher, executor(evaluate, "AP"), log, 4, race=race, **settings)
    finally:
        log.close()
    return log


def result(log):
    return [(c.network, c.generation, c.score, c.looks) for c in log.history()]


def parents_of(log):
    return {parent for c in log.history() for parent in c.parents}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_stopped_candidates_become_neither_parents_nor_best_nor_failures(tmp_path, asynchronous):
    log = search(tmp_path / "a", asynchronous=asynchronous)
    stopped = [c for c in log.history() if c.stopped]
    assert 5 < len(stopped) < 25 and not log.failures
    assert all(c.score is None and c.stopped["images"] in (10, 20) and c.metrics == {} for c in stopped)
    assert not parents_of(log) & {c.network for c in stopped} and log.best()[0].score == max(
        c.score for c in log.history() if c.score is not None
    )
    # What was read again says the same.
    assert result(SearchLog(str(tmp_path / "a"), TINY)) == result(log)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_race_stopped_after_any_candidate_goes_on_to_the_same_end(tmp_path, asynchronous):
    whole = result(search(tmp_path / "whole", asynchronous=asynchronous))
    for count in range(0, 32, 3):
        calls = []

        def interrupted(*args):
            if len(calls) == count:
                raise KeyboardInterrupt
            calls.append(args)
            return raced(*args)

        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / str(count), interrupted, asynchronous=asynchronous)
        assert result(search(tmp_path / str(count), asynchronous=asynchronous)) == whole


def test_the_order_in_which_workers_finish_does_not_matter(tmp_path):
    there = search(tmp_path / "shuffled", executor=Shuffled)
    assert sorted(result(there), key=str) == sorted(result(search(tmp_path / "here")), key=str)
    assert [c.network for c in there.history()] != [c.network for c in search(tmp_path / "here").history()]


def test_without_a_race_lines_are_as_they_were(tmp_path):
    search(tmp_path / "a", evaluate=lambda path, parents: {"AP": float(sum(path))}, race=None)
    lines = [json.loads(line) for line in (tmp_path / "a" / "search.jsonl").read_text().splitlines()[1:]]
    names = {field.name for field in dataclasses.fields(Candidate)} - {"looks"}
    assert all(line.keys() == names for line in lines)


def scored(number, score, cost=0):
    return Candidate((number,), score=score, costs={"cost": cost}, looks=({"score": score}, {"score": -score}))


def test_to_beat_is_the_better_half_of_those_seen_so_far():
    candidates = [scored(i, float(score)) for i, score in enumerate((5, 9, 7, 8, 6))]
    candidates += [Candidate((9,), looks=({"score": 7.5},)), Candidate((10,), error="failed")]
    assert RACE.to_beat(candidates, {}) == [7.5, -6]
    assert RACE.to_beat(candidates[:2], {}) == [None, None]
    assert dataclasses.replace(RACE, share=1.0).to_beat(candidates, {}) == [5, -9]


def test_with_objectives_a_candidate_is_compared_with_those_that_cost_no_more():
    race = dataclasses.replace(RACE, parents=2, costs=("cost",))
    candidates = [scored(i, 10.0 - i, cost=10 - i) for i in range(6)]  # the best ones cost most
    assert [race.to_beat(candidates, {"cost": cost})[0] for cost in (10, 7, 5)] == [8, 7, None]


def test_parts_that_hold_no_image_more_are_an_error():
    assert rung_sizes(90, (1 / 9, 1 / 3)) == [10, 30, 90]
    for total, parts in ((3, (1 / 9,)), (90, (0.5, 0.3)), (90, (0.5, 1.0))):
        with pytest.raises(ValueError, match=rf"SEARCH.RACING_PARTS .* of {total} held-out images"):
            rung_sizes(total, parts)


@pytest.fixture(params=[("classifier", "classification/top1"), ("detector", "bbox/AP50")], ids=lambda param: param[0])
def run(request, toy_root, tmp_path):
    """(config with a race, checkpoint of random weights)"""
    task, metric = request.param
    name, data = TASKS[task]
    race = {"SEARCH.RACING": True, "SEARCH.RACING_PARTS": "(0.4, 0.7)", "SEARCH.METRIC": metric}
    cfg = toy_setup(name, {**data(toy_root), **race, "SEARCH.RECALIBRATION_IMAGES": 6, "OUTPUT_DIR": tmp_path})
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, tmp_path / "supernet.pth")
    return cfg, str(tmp_path / "supernet.pth")


def test_who_comes_to_the_end_has_the_metrics_of_an_evaluation_without_a_race(run):
    cfg, weights = run
    evaluator = CandidateEvaluator(cfg, weights)
    plain = CandidateEvaluator(with_settings(cfg, {"SEARCH.RACING": False}), weights)
    for path in (A, B):
        metrics = evaluator(path)
        looks = metrics.pop(LOOKS)
        assert metrics == plain(path)
        assert [look["images"] for look in looks] == evaluator.ends[:2]
        # What was collected is not changed by a look at it.
        assert evaluator.score() == metrics
        # A look is the evaluation of the images seen so far.
        for number, look in enumerate(looks, 1):
            evaluator.metric.reset()
            for rung in evaluator.held_out[:number]:
                evaluator.collect(rung)
            assert look["score"] == round(evaluator.score()[cfg.SEARCH.METRIC], 3)


def test_who_has_no_hope_stops_at_the_first_part_and_leaves_no_trace(run):
    cfg, weights = run
    evaluator = CandidateEvaluator(cfg, weights)
    before = evaluator(A)
    stopped = evaluator(B, (), [1000.0, 1000.0])
    assert list(stopped) == [LOOKS] and len(stopped[LOOKS]) == 1
    assert stopped[LOOKS][0] == evaluator(B)[LOOKS][0]
    assert evaluator(A, (), [look["score"] for look in before[LOOKS]]) == before
    # A metric without a value on some images stops nobody.
    evaluator.score = lambda: {cfg.SEARCH.METRIC: None}
    assert [look["score"] for look in evaluator(A, (), [0.0, None])[LOOKS]] == [0.0, 0.0]


def test_a_config_says_whether_and_how_to_race(toy_config):
    cfg = toy_config("toy_2_train_supernet", "SEARCH.RACING_PARTS", "(0.4, 0.7)", "SEARCH.RACING", "True")
    assert build_race(cfg) == Race(0.5, cfg.SEARCH.NUM_PARENTS, 2)
    assert build_race(with_settings(cfg, {"SEARCH.RACING": False})) is None
