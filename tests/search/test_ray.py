"""Evaluation on Ray workers: real processes, some of which die."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import three_places  # noqa: F401  it registers its method
import torch
from listening import LOOPBACK
from ray_fakes import RACE, Fake, broken, raced, run_all
from toy_runs import SMALL_SEARCH, command, detection, own_loggers

import search_net
from detnas import get_space
from detnas.search import ray_executor
from detnas.search.evolution import Searcher
from detnas.search.executor import LocalExecutor, SearchImpossible
from detnas.search.log import SearchLog
from detnas.search.loop import run_asynchronous, run_search
from detnas.search.ray_executor import RayExecutor

cloudpickle = pytest.importorskip("ray.cloudpickle", reason="Ray is not installed")
SPACE = get_space("tiny")
TIMEOUT = 3


@pytest.fixture(scope="module", autouse=True)
def workers_find_the_fakes():
    # By value, so that a worker starts in a moment: it need not import the package, nor torch.
    cloudpickle.register_pickle_by_value(ray_executor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
        yield
    cloudpickle.unregister_pickle_by_value(ray_executor)


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    """Two workers for all tests, as a start of Ray takes long."""
    build, start = functools.partial(Fake, tmp_path_factory.mktemp("calls")), ray_executor._start
    with pytest.MonkeyPatch.context() as patch:
        # Room for a third one, that cannot start.
        patch.setattr(ray_executor, "_start", lambda address, cpus, gpus: start(address, cpus + 1, gpus))
        executor = RayExecutor(build, "AP", workers=2, tries=2, timeout=TIMEOUT)
    yield executor
    executor.close()


@pytest.fixture
def command_line(executor, tmp_path, monkeypatch):
    """Function (name of a folder, config, overrides, *flags) -> the log of a search, on the Ray that runs."""
    monkeypatch.setattr(ray_executor, "_start", lambda *args: executor.ray)
    monkeypatch.setattr(RayExecutor, "close", lambda self: None)

    def run(name, config, overrides, *flags):
        args = command(config, {**overrides, "OUTPUT_DIR": tmp_path / name}, *flags, parser=search_net.parser())
        with own_loggers():
            return search_net.main(args)

    return run


def search(folder, executor, run=run_search, count=3, race=None):
    log = SearchLog(str(folder), SPACE, {"space": "tiny"})
    # First ops of 0 only: nothing goes wrong.
    searcher = Searcher(SPACE, lambda path: path[0] == 0, 6, num_parents=3, num_mutate=3, num_cross=2)
    run(searcher, executor, log, count, race=race)
    log.close()
    return log


def result(log):
    return sorted(str((c.network, c.generation, c.score, c.looks, c.parents)) for c in log.history())


def test_two_workers_find_what_this_process_finds_and_both_work(executor, tmp_path):
    there = search(tmp_path / "ray", executor)
    asynchronous = search(tmp_path / "asynchronous", executor, run_asynchronous, 10)
    (tmp_path / "here_calls").mkdir()
    here = search(tmp_path / "here", LocalExecutor(Fake(tmp_path / "here_calls"), "AP"))

    assert result(there) == result(here) and len(here.history()) == 18
    assert len({c.worker for c in there.history()}) == 2
    assert len(asynchronous.history()) == 10 and all(c.score == sum(c.network) for c in asynchronous.history())


def test_a_race_is_the_same_one_on_two_workers(executor, tmp_path):
    there = search(tmp_path / "ray", executor, count=5, race=RACE)
    here = search(tmp_path / "here", LocalExecutor(raced, "AP"), count=5, race=RACE)

    assert result(there) == result(here) and any(c.stopped for c in here.history())


def test_workers_that_die_and_candidates_that_fail_hang_or_give_nan_do_not_end_the_search(executor, caplog):
    paths = [(first, *rest) for first, rest in enumerate(((0,) * 7, (1,) * 7, (0,) * 7, (1,) * 7))] + [(3,) * 8]
    found = {c.network: c for c in run_all(executor, paths)}
    assert set(found) == set(paths)
    for path, c in found.items():
        if path[0] == 2:
            assert (c.score, c.tries, c.error) == (None, 2, "RuntimeError: no memory")
        elif set(path) == {3}:
            assert (c.score, c.tries, c.error) == (None, 2, "AP is not a finite number")
        else:
            # Died or hung the first time, and was tried again.
            assert (c.score, c.tries, c.error) == (sum(path), 1 + (path[0] in (1, 3)), None)
    assert "its worker died" in caplog.text and f"more than SEARCH.TIMEOUT, {TIMEOUT} s" in caplog.text


def test_a_worker_that_is_killed_for_its_memory_is_replaced(executor, monkeypatch, caplog):
    def killed(reference):
        monkeypatch.undo()
        raise executor.ray.exceptions.OutOfMemoryError("killed by Ray")

    monkeypatch.setattr(executor.ray, "get", killed)
    found = run_all(executor, [(0,) * 7 + (3,), (0,) * 6 + (3, 3)])
    assert sorted((c.score, c.tries) for c in found) in ([(3, 1), (6, 2)], [(3, 2), (6, 1)])
    assert "its worker died: killed by Ray" in caplog.text


def test_a_damaged_image_and_a_metric_that_is_not_reported_end_the_search(executor, monkeypatch):
    with pytest.raises(SearchImpossible, match="^a.jpg cannot be read as an image$"):
        run_all(executor, [(2,) * 8])
    monkeypatch.setattr(executor, "metric", "AP77")
    with pytest.raises(SearchImpossible, match='SEARCH.METRIC "AP77" is not reported; there are: AP'):
        run_all(executor, [(0,) * 7 + (2,)])


def test_ray_listens_to_this_machine_alone_and_writes_no_token(tmp_path):
    # In a process that has not imported Ray.
    run = ("from detnas.search.ray_executor import _start; from listening import listens_on; ray = _start('', 2, 0); "
           "ray.get([ray.remote(lambda: 0).remote() for _ in range(2)]); print(*listens_on()); import os; "
           "assert os.environ['RAY_AUTH_MODE'] == 'token' and len(os.environ['RAY_AUTH_TOKEN']) == 64")
    paths = os.pathsep.join([str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", run], env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": paths},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = done.stdout.split()
    assert len(found) > 4 and all(address.endswith(LOOPBACK) for address in found)
    assert not list(tmp_path.iterdir())


def test_a_cluster_without_room_or_address_is_an_error():
    with pytest.raises(ValueError, match="SEARCH.RAY_ADDRESS 127.0.0.1:1: no Ray cluster answers there"):
        RayExecutor(functools.partial(Fake, "."), "AP", address="127.0.0.1:1")


def test_workers_that_cannot_start_end_the_search_with_their_error(executor, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_executor, "MAX_FAILED_STARTS", 2)
    # On the Ray that runs.
    monkeypatch.setattr(ray_executor, "_start", lambda *args: executor.ray)
    broken_one = RayExecutor(functools.partial(broken, tmp_path), "AP", workers=1)
    broken_one.submit((0, 0), ())
    with pytest.raises(SearchImpossible, match="2 workers in a row could not start: (.|\n)*no model"):
        broken_one.next()


def test_a_search_of_real_candidates_has_the_scores_of_this_process(command_line, toy_root, tmp_path):
    settings = {**detection(toy_root), **SMALL_SEARCH, "SEARCH.GENERATIONS": 1, "SEARCH.METRIC": "bbox/AP50"}
    # One worker, as each imports torch.
    ray = {"SEARCH.EXECUTOR": "ray", "SEARCH.WORKERS": 1}
    here, there = (
        command_line(name, "toy_2_train_supernet", {**settings, **more}, "--random-weights")
        for name, more in (("here", {}), ("ray", ray))
    )
    assert {c.network: c.score for c in there.history()} == pytest.approx(
        {c.network: c.score for c in here.history()}, abs=1e-3
    )
    assert {c.worker for c in here.history()} == {"here"} and len({c.worker for c in there.history()} - {"here"}) == 1
    saved = torch.load(tmp_path / "ray" / "best.pth", weights_only=True)
    assert saved["found"]["arch"] == SPACE.format(there.best()[0].network)


def test_a_method_of_another_package_is_the_same_search(command_line, tmp_path):
    config = tmp_path / "places.yaml"
    config.write_text("SEARCH: {METHOD: places, METRIC: value, GENERATIONS: 3}")
    here, there = command_line("here", config, {}), command_line("ray", config, {}, "--cpu-processes", "2")
    assert result(here) == result(there) and {c.worker for c in there.history()} != {"here"}
