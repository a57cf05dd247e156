import json
import multiprocessing
import os
import resource
import signal
import time

import pytest

from detnas import SearchSpace
from detnas.errors import UserError
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog
from detnas.search.tables import first_cost

SPACE = SearchSpace("small", 4, (8, 16), (2, 2))
HEADER = {"space": "small", "seed": 0, "constraints": ("backbone_flops <= 30e6",), "population": 10}
CANDIDATES = [
    Candidate((0, 1, 2, 3), 0, 21.5, {"bbox/AP": 21.5, "bbox/APl": None}, {"backbone_flops": 12}, 1.25),
    Candidate((3, 3, 3, 3), 0, error="RuntimeError: it failed"),
    Candidate((1, 1, 1, 1), 1, 30.0, {"bbox/AP": 30.0}, parents=((0, 1, 2, 3), (3, 3, 3, 3))),
]


@pytest.fixture
def log(tmp_path):
    log = SearchLog(str(tmp_path), SPACE, HEADER)
    for candidate in CANDIDATES:
        log.append(candidate)
    log.close()
    return log


@pytest.fixture
def file(log, tmp_path):
    return tmp_path / "search.jsonl"


def test_what_is_appended_is_read_again_the_best_first_and_failures_not_at_all(log, tmp_path):
    for again in (SearchLog(str(tmp_path), SPACE, HEADER), SearchLog(str(tmp_path), SPACE)):
        assert again.history() == log.history() == CANDIDATES
        assert (0, 1, 2, 3) in again and (0, 0, 0, 0) not in again
        assert again.best(5) == [CANDIDATES[2], CANDIDATES[0]] and again.best() == [CANDIDATES[2]]


def test_a_line_is_one_candidate_with_its_arch_after_the_header(log, file):
    before = file.read_bytes()
    log.append(Candidate((2, 2, 2, 2), 1, 3.0))
    assert file.read_bytes().startswith(before)
    header, *lines = map(json.loads, file.read_text().splitlines())
    assert header == json.loads(json.dumps(HEADER))
    assert [line["network"] for line in lines] == ["01-23", "33-33", "11-11", "22-22"]
    assert lines[0]["score"] == 21.5 and lines[1]["error"] == "RuntimeError: it failed"
    assert lines[2]["parents"] == ["01-23", "33-33"]


def test_a_last_line_torn_anywhere_is_dropped_by_the_next_writer_and_a_torn_header_starts_the_log_anew(file, tmp_path):
    data = file.read_bytes()
    last = data.rstrip(b"\n").rfind(b"\n") + 1
    for end in range(last, len(data)):
        file.write_bytes(data[:end])
        # Without a header it only reads.
        assert SearchLog(str(tmp_path), SPACE).history() == CANDIDATES[:2] and file.read_bytes() == data[:end]
        assert SearchLog(str(tmp_path), SPACE, HEADER).history() == CANDIDATES[:2] and file.read_bytes() == data[:last]
    file.write_bytes(data[:10])
    assert SearchLog(str(tmp_path), SPACE, HEADER).history() == []
    assert SearchLog(str(tmp_path), SPACE).header["space"] == "small"


def test_settings_without_a_candidate_bind_nobody_and_other_versions_are_a_warning_alone(tmp_path, caplog):
    SearchLog(str(tmp_path), SPACE, {**HEADER, "seed": 1}).close()
    log = SearchLog(str(tmp_path), SPACE, {**HEADER, "seed": 2, "versions": {"torch": "1"}})
    assert log.header["seed"] == 2 and log.history() == []
    log.append(CANDIDATES[0])
    log.close()
    SearchLog(str(tmp_path), SPACE, {**HEADER, "seed": 2, "versions": {"torch": "2"}}).close()
    assert "begun with {'torch': '1'}" in caplog.text


@pytest.mark.parametrize(
    "line",
    ['{"network": "01', "none", "3", "[1]", '{"score": 2.0}', '{"network": "0123", "sorce": 1.0}', '{"network": "01"}',
     *(f'{{"network": "01-23", "score": {score}}}' for score in ("1e999", '"3"', "true", "[]")), "[" * 100_000, "null"],
    ids=str,
)
def test_a_damaged_line_is_an_error_that_names_the_file(file, tmp_path, line):
    lines = file.read_text().splitlines()
    lines[2] = line
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=f"{file} is damaged: line 3") as caught:
        SearchLog(str(tmp_path), SPACE, HEADER)
    assert "column" not in str(caught.value)


def test_other_settings_are_named_with_both_values(file, tmp_path):
    before = file.read_bytes()
    with pytest.raises(ValueError) as caught:
        SearchLog(str(tmp_path), SPACE, {**HEADER, "seed": 5, "population": 20, "metric": "bbox/AP"})
    words = str(caught.value)
    assert "metric was None and is 'bbox/AP'" in words
    assert "population was 10 and is 20" in words and "seed was 0 and is 5" in words
    assert str(file) in words and "constraints was" not in words
    assert file.read_bytes() == before


def test_a_log_of_another_space_is_refused_and_one_that_is_not_there(log, tmp_path):
    other = SearchSpace("other", 4, (8, 16), (2, 2))
    for header in (None, {**HEADER, "space": "other"}):
        with pytest.raises(ValueError, match='is a search of space "small"; this one is of "other"'):
            SearchLog(str(tmp_path), other, header)
    with pytest.raises(UserError, match="search.jsonl does not exist or is empty; search_net.py writes it"):
        SearchLog(str(tmp_path / "nowhere"), SPACE)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("candidate", [
    Candidate((2, 2, 2, 2), score=float("nan")),
    Candidate((2, 2, 2, 2), score=1.0, metrics={"bbox/APl": float("nan")}),
    Candidate((2, 2, 2, 2), score=float("inf")),
    Candidate((0, 0, 0), score=1.0),
])
def test_what_is_no_number_or_no_path_of_the_space_does_not_get_into_the_log(log, file, candidate):
    before = file.read_bytes()
    with pytest.raises(ValueError):
        log.append(candidate)
    assert file.read_bytes() == before and log.history() == CANDIDATES


def test_two_searches_cannot_write_into_one_folder(tmp_path):
    first = SearchLog(str(tmp_path), SPACE, HEADER)
    with pytest.raises(ValueError, match=f"another search is running in {tmp_path}: give another OUTPUT_DIR"):
        SearchLog(str(tmp_path), SPACE, HEADER)
    # Reading is no writing.
    assert SearchLog(str(tmp_path), SPACE).history() == []
    first.close()
    SearchLog(str(tmp_path), SPACE, HEADER)


def test_the_best_is_picked_if_there_is_one(log, tmp_path):
    assert log.pick("best") == CANDIDATES[2]
    with pytest.raises(UserError, match="search.jsonl holds no finished candidate yet"):
        SearchLog(str(tmp_path / "other"), SPACE, HEADER).pick("best")


def test_a_data_worker_that_outlives_a_killed_search_holds_no_lock(tmp_path):
    fork = multiprocessing.get_context("fork")

    def work():
        send.send(os.getpid())
        time.sleep(60)

    def search():
        log = SearchLog(str(tmp_path), SPACE, HEADER)
        worker = fork.Process(target=work)
        worker.start()
        time.sleep(60)
        log.close()

    receive, send = fork.Pipe(duplex=False)
    process = fork.Process(target=search)
    process.start()
    assert receive.poll(10)
    worker = receive.recv()
    try:
        with pytest.raises(ValueError, match="another search is running"):
            SearchLog(str(tmp_path), SPACE, HEADER)
        process.kill()
        process.join()
        os.kill(worker, 0)
        SearchLog(str(tmp_path), SPACE, HEADER)
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_full_disk_is_one_sentence_and_the_log_stays_as_it_was(log, file, tmp_path):
    before = file.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    # Like a disk that takes ten more bytes; the signal would end the process.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(UserError) as caught:
            log.append(Candidate((2, 2, 2, 2), 1, 3.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(caught.value).startswith(f"{file} cannot be written: ") and "started again" in str(caught.value)
    assert (2, 2, 2, 2) not in log and file.read_bytes() == before
    assert SearchLog(str(tmp_path), SPACE).history() == CANDIDATES


@pytest.mark.parametrize("limits, cost", [
    (["backbone_latency_ms <= 3"], "backbone_latency_ms"), ([], "backbone_flops")])
def test_a_front_is_of_the_cost_that_is_limited(tmp_path, limits, cost):
    log = SearchLog(str(tmp_path), SPACE, {**HEADER, "constraints": limits})
    assert first_cost(log) == []
    log.append(Candidate((0, 1, 2, 3), score=1.0, costs={"backbone_flops": 12, "backbone_latency_ms": 2.0}))
    assert first_cost(log) == [cost]
