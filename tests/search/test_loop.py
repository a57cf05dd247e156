import logging

import pytest
from ray_fakes import Shuffled

from detnas import SearchSpace, get_space
from detnas.search import loop
from detnas.search.evolution import Searcher
from detnas.search.executor import LocalExecutor, SearchImpossible
from detnas.search.log import SearchLog
from detnas.search.loop import run_asynchronous, run_search

TINY = get_space("tiny")
SMALLEST = SearchSpace("smallest", 4, (8,), (2,))
GENERATIONS, POPULATION = 4, 6
TOTAL = GENERATIONS * POPULATION


def metrics_of(path, parents=()):
    """Any fixed fitness with many ties."""
    return {"bbox/AP": float(sum(i * op for i, op in enumerate(path, 1)) % 9), "bbox/APl": None}


def searcher_of(space=TINY):
    return Searcher(space, lambda path: True, POPULATION, num_parents=3, num_mutate=3, num_cross=2)


def search(folder, space=TINY, evaluate=metrics_of, generations=GENERATIONS, metric="bbox/AP", executor=None, **hooks):
    """Run or continue the search in a folder; returns its log."""
    folder.mkdir(exist_ok=True)
    log = SearchLog(str(folder), space, {"space": space.name})
    try:
        run_search(searcher_of(space), executor or LocalExecutor(evaluate, metric), log, generations, **hooks)
    finally:
        log.close()
    return log


def stopping_after(count, calls):
    """An evaluator that is interrupted when it has finished ``count`` candidates."""

    def evaluate(path, parents):
        if len(calls) == count:
            raise KeyboardInterrupt
        calls.append(path)
        return metrics_of(path)

    return evaluate


def result(log):
    return [(c.network, c.generation, c.score, c.error) for c in log.history()]


@pytest.fixture
def uninterrupted(tmp_path):
    return result(search(tmp_path / "uninterrupted"))


def test_a_search_has_all_its_generations_with_metrics_costs_and_a_line_for_each_candidate(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="detnas.search.loop")
    log = search(tmp_path / "a", costs=lambda path: {"backbone_flops": sum(path)})
    assert [c.generation for c in log.history()] == sorted(list(range(GENERATIONS)) * POPULATION)
    assert len({c.network for c in log.history()}) == TOTAL
    for candidate in log.history():
        assert candidate.metrics == metrics_of(candidate.network)
        assert candidate.score == candidate.metrics["bbox/AP"] and candidate.seconds >= 0
        assert candidate.costs == {"backbone_flops": sum(candidate.network)}
    lines = [record.message for record in caplog.records if "eta" in record.message]
    assert [f"candidate {i}/{TOTAL}" in line for i, line in enumerate(lines, 1)] == [True] * TOTAL
    assert sum("best so far" in record.message for record in caplog.records) == GENERATIONS


def test_a_search_stopped_after_any_candidate_goes_on_to_the_same_end(tmp_path, uninterrupted):
    for count in range(TOTAL):
        folder, calls = tmp_path / str(count), []
        with pytest.raises(KeyboardInterrupt):
            search(folder, evaluate=stopping_after(count, calls))
        search(folder, evaluate=stopping_after(TOTAL, calls))
        assert result(SearchLog(str(folder), TINY)) == uninterrupted
        assert calls == [path for path, *_ in uninterrupted]


def test_a_search_stopped_within_a_line_goes_on_to_the_same_end(tmp_path, uninterrupted):
    whole = (tmp_path / "uninterrupted" / "search.jsonl").read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for count in range(1, TOTAL):
        for torn in (1, (ends[count] - ends[count - 1]) // 2, ends[count] - ends[count - 1] - 1):
            folder, calls = tmp_path / f"{count}-{torn}", []
            folder.mkdir()
            (folder / "search.jsonl").write_bytes(whole[: ends[count - 1] + torn])
            log = search(folder, evaluate=stopping_after(TOTAL, calls))
            assert result(log) == result(SearchLog(str(folder), TINY)) == uninterrupted
            assert calls == [path for path, *_ in uninterrupted[count - 1 :]]


def test_a_finished_search_is_not_evaluated_again_and_may_grow(tmp_path, uninterrupted):
    calls = []
    assert result(search(tmp_path / "uninterrupted", evaluate=stopping_after(0, calls))) == uninterrupted
    longer = result(search(tmp_path / "uninterrupted", generations=GENERATIONS + 1))
    assert longer[:TOTAL] == uninterrupted and len(longer) == TOTAL + POPULATION


def test_the_order_in_which_candidates_finish_does_not_matter(tmp_path, uninterrupted):
    assert sorted(result(search(tmp_path / "a", executor=Shuffled(metrics_of, "bbox/AP")))) == sorted(uninterrupted)


def test_a_failing_candidate_is_logged_with_its_error_and_not_tried_again(tmp_path):
    calls = []

    def fails_at_times(path, parents):
        calls.append(path)
        if path[0] == 1:
            raise RuntimeError("no memory")
        return metrics_of(path)

    log = search(tmp_path / "a", evaluate=fails_at_times)
    failed = [c for c in log.history() if c.network[0] == 1]
    assert failed and len(log.history()) == TOTAL
    assert {(c.error, c.score) for c in failed} == {("RuntimeError: no memory", None)}
    assert all(c.error is None for c in log.history() if c not in failed)
    search(tmp_path / "a", evaluate=fails_at_times)
    assert len(calls) == len(set(calls)) == TOTAL


def test_a_metric_that_is_not_reported_ends_the_search_at_its_first_candidate(tmp_path):
    calls = []

    def evaluate(path, parents):
        calls.append(path)
        return {"bbox/AP": 3.0, "bbox/APl": 3.0}

    words = 'SEARCH.METRIC "bbox/AP75" is not reported; there are: bbox/AP, bbox/APl'
    with pytest.raises(SearchImpossible, match=words):
        search(tmp_path / "a", metric="bbox/AP75", evaluate=evaluate)
    assert len(calls) == 1


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_a_failure_and_a_search_of_failures_ends(tmp_path, value):
    log = search(tmp_path / "a", evaluate=lambda path, parents: {"bbox/AP": value, "bbox/AP50": 3.0})
    assert len(log.history()) == TOTAL and log.best() == []
    assert {(c.score, c.error) for c in log.history()} == {(None, "bbox/AP is not a finite number")}
    assert all(c.metrics == {"bbox/AP": None, "bbox/AP50": 3.0} for c in SearchLog(str(tmp_path / "a"), TINY).history())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_when_its_seconds_are_over_no_candidate_begins_but_the_first(tmp_path, caplog, monkeypatch, asynchronous):
    caplog.set_level("INFO")
    clock = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock[0])

    def slow(path, parents=()):
        clock[0] += 10
        return metrics_of(path)

    for seconds, count in ((1, 1), (25, 3), (0, TOTAL)):
        if asynchronous:
            log = SearchLog(str(tmp_path), TINY, {"space": TINY.name})
            run_asynchronous(searcher_of(), LocalExecutor(slow, "bbox/AP"), log, TOTAL, seconds=seconds)
            log.close()
        else:
            log = search(tmp_path, evaluate=slow, seconds=seconds)
        assert len(log.history()) == count
    said = [record.message for record in caplog.records if "SEARCH.SECONDS" in record.message]
    assert said == [f"SEARCH.SECONDS {seconds} are over, after {count} of {TOTAL} candidates."
                    for seconds, count in ((1, 1), (25, 3))]


def test_the_seconds_of_an_event_count(tmp_path):
    search(tmp_path, seconds=0.001)
    log = SearchLog(str(tmp_path), TINY, {"space": TINY.name})
    log.append_event({"event": "trial", "generation": 1, "seconds": 1000})
    log.close()
    assert len(search(tmp_path, seconds=900).history()) < TOTAL == len(search(tmp_path, seconds=2000).history())


def test_a_search_ends_early_when_there_is_no_new_path(tmp_path, caplog):
    log = search(tmp_path / "a", space=SMALLEST, generations=50)
    assert len(log.history()) == 16 and max(c.generation for c in log.history()) == 2
    assert "the search ends before generation 4" in caplog.text


def test_the_best_so_far_is_announced_each_time_it_changes_and_first_when_a_search_is_taken_up_again(tmp_path):
    announced = []

    def note(candidate, is_best, needed):
        if is_best:
            announced.append(candidate)

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "a", evaluate=stopping_after(9, []), on_candidate=note)
    before = announced[-1]
    log = search(tmp_path / "a", on_candidate=note)
    expected, best = [], None
    for number, candidate in enumerate(log.history()):
        if number == 9:
            expected.append(before)
        if best is None or (-candidate.score, candidate.network) < (-best.score, best.network):
            best = candidate
            expected.append(candidate)
    assert announced == expected and announced[-1] == log.best()[0]
