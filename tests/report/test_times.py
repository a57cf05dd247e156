"""The table of what each step took."""

import re

import pytest
from run_folders import leave_run, trained
from test_results import rows

from detnas import get_space, report
from detnas.report.times import training_seconds
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog

TINY = get_space("tiny")
LINES = [trained(19, 0.5), trained(39, 1.5), {"iteration": 40, "bbox/AP50": 1.0}]
SUPERNET = {"config": "COCO/supernet_fpn_300M", "lines": LINES, "SOLVER__MAX_ITER": 40}


def leave_search(folder, workers=("here", "here"), seconds=90.0):
    log = SearchLog(str(folder), TINY, {"space": "tiny"})
    for number, worker in enumerate(workers):
        log.append(Candidate((number,) * TINY.num_blocks, score=1.0, seconds=seconds, worker=worker))
    log.close()
    return str(folder)


def test_each_line_counts_for_the_iterations_since_the_one_before():
    assert training_seconds(LINES) == 20 * 0.5 + 20 * 1.5
    # The first iterations of a process have no time; those of the next line stand for them.
    assert training_seconds([{"iteration": 1, "total_loss": 1.0}, trained(9, 0.5)]) == 10 * 0.5
    assert training_seconds([{"iteration": 1, "total_loss": 1.0}]) is None


def test_a_training_that_went_on_counts_each_iteration_once(tmp_path):
    # Killed after 45 iterations and continued from a checkpoint after 30, then stopped at 50 and finished.
    lines = [trained(19, 1.0), trained(39, 1.0), trained(39, 2.0), trained(49, 3.0), trained(59, 4.0)]
    folder = leave_run(tmp_path / "a", "COCO/supernet_fpn_300M", lines, SOLVER__MAX_ITER=60)
    (row,) = rows(report.times_table([folder]))
    assert row["seconds"] == "130" and row["done"] == "60 iterations"
    assert 20 * 1.0 + 20 * 2.0 + 10 * 3.0 + 10 * 4.0 == 130


def test_every_step_has_its_name_and_a_folder_with_both_has_two_rows(tmp_path):
    folders = {
        "supernet as classifier": leave_run(tmp_path / "1", "ImageNet/supernet_300M", LINES, SOLVER__MAX_ITER=40),
        "supernet on detection": leave_run(tmp_path / "2", **SUPERNET),
        "network as classifier": leave_run(tmp_path / "3", "ImageNet/R_50", LINES, SOLVER__MAX_ITER=40),
        "network on detection": leave_run(tmp_path / "4", "VOC/detnas_fpn_300M", LINES, SOLVER__MAX_ITER=40),
        "search": leave_search(tmp_path / "5"),
    }
    found = rows(report.times_table(list(folders.values())))
    assert [row["step"] for row in found] == [*folders, ""]
    leave_search(tmp_path / "2")
    assert [row["step"] for row in rows(report.times_table([folders["supernet on detection"]]))] == [
        "supernet on detection", "search", ""
    ]


def test_device_hours_are_seconds_of_all_devices_and_add_up(tmp_path):
    supernet = leave_run(tmp_path / "supernet", **SUPERNET)
    search = leave_search(tmp_path / "search", ("a:1", "b:1", "a:1"), 3600.0)
    first, second, both = rows(report.times_table([supernet, search]))
    # The config's 8 GPUs.
    assert first["devices"] == "8 GPUs" and first["device hours"] == f"{40 * 8 / 3600:.2f}"
    assert second == {"folder": "search", "step": "search", "done": "3 candidates", "seconds": "10800",
                      "devices": "2 workers", "device hours": "3.00"}
    assert both["folder"] == "all" and both["device hours"] == f"{3 + 40 * 8 / 3600:.2f}"


@pytest.mark.parametrize(
    "settings, logs, devices",
    [
        ({"SOLVER__REFERENCE_WORLD_SIZE": 8, "SOLVER__ACCUMULATE": 4}, [], "2 GPUs"),
        ({"SOLVER__REFERENCE_WORLD_SIZE": 8, "MODEL__DEVICE": "cpu"}, [], "8 CPU processes"),
        ({"SOLVER__REFERENCE_WORLD_SIZE": 0}, ["log.txt"], "1 GPU"),
        ({"SOLVER__REFERENCE_WORLD_SIZE": 0}, ["log.txt", "log.txt.rank1"], "2 GPUs"),
        ({"SOLVER__REFERENCE_WORLD_SIZE": 0}, [], "unknown"),
    ],
)
def test_devices_are_those_that_the_run_has_left_traces_of(tmp_path, settings, logs, devices):
    folder = leave_run(tmp_path / "a", **SUPERNET, **settings)
    for name in logs:
        (tmp_path / "a" / name).touch()
    (row,) = rows(report.times_table([folder]))
    assert row["devices"] == devices and (row["device hours"] == "unknown") == (devices == "unknown")


def test_what_was_not_recorded_is_unknown_and_not_summed(tmp_path):
    lines = [{"iteration": 9, "total_loss": 1.0}]
    folder = leave_run(tmp_path / "a", "COCO/supernet_fpn_300M", lines, SOLVER__MAX_ITER=40)
    row, search = rows(report.times_table([folder, leave_search(tmp_path / "b")]))
    assert row["seconds"] == row["device hours"] == "unknown" and row["done"] == "10 of 40 iterations"
    assert search["step"] == "search"


def test_a_folder_of_neither_is_named(tmp_path, capsys, refused):
    words = f"^{tmp_path} holds no config.yaml of train_net.py and no search.jsonl"
    assert re.search(words, refused(report.main, ["--times", str(tmp_path)]))


def test_the_command_prints_the_table(tmp_path, capsys):
    folder = leave_search(tmp_path / "a")
    report.main(["--times", folder])
    assert capsys.readouterr().out == report.times_table([folder]) + "\n"
