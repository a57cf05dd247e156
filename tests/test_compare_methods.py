"""tools/compare_methods.py and timed_runs.py: how long the last steps are, and the table; others test what trains."""

import sys

import pytest
from scripts import ROOT, script

sys.path.insert(0, str(ROOT / "tools"))
compare, timed = script("tools", "compare_methods"), script("tools", "timed_runs")


class Machine:
    """Stands for run_step: a training takes what it takes here, and leaves a file."""

    def __init__(self, start=5.0, step=0.1):
        self.start, self.step, self.trained = start, step, []

    def run(self, arguments, log, say, threads, pass_fds):
        count = int(arguments[arguments.index("SOLVER.MAX_ITER") + 1])
        self.trained.append(count)
        return self.start + count * self.step


@pytest.fixture
def seed(tmp_path):
    """Function (machine, cost that is measured) -> a seed of 600 seconds; the folder is the same for all of them."""
    made = []

    def make(machine, cost):
        for earlier in made:
            earlier.steps.close()
        made.append(timed.TimedRuns(str(tmp_path / "3"), 3, 600, machine.run, lambda config, opts: cost))
        return made[-1]

    return make


def test_the_last_training_fills_the_time_that_is_left():
    assert timed.iterations_for(105, 5, 0.1) == 1000
    with pytest.raises(ValueError, match="-20 seconds are left for the last training, which starts in 5: give more"):
        timed.iterations_for(-20, 5, 0.1)


def test_a_last_step_that_fits_is_not_done_again(seed):
    machine = Machine()
    run = seed(machine, (5.0, 0.1))
    run.run("before", "train_net.py", compare.SPNAS, "SOLVER.MAX_ITER", 3950)
    assert run.seconds("before") == 400
    assert run.train_for("last", ["before"], 0.03, compare.SPNAS) == "last_1"
    assert machine.trained == [3950, 1950] and run.seconds("before", "last_1") == 600


def test_one_that_took_longer_than_was_measured_is_done_again_with_fewer_iterations(seed):
    machine = Machine(step=0.2)
    run = seed(machine, (5.0, 0.1))
    assert run.train_for("last", [], 0.03, compare.SPNAS) == "last_2"
    assert machine.trained == [5950, 2975] and run.seconds("last_2") == 600


def test_of_tries_that_all_miss_the_nearest_counts(seed):
    machine = Machine()
    run = seed(machine, (5.0, 0.1))
    steps = iter([0.2, 0.05, 0.12])

    def slower(*given):
        machine.step = next(steps)
        return Machine.run(machine, *given)

    run.steps.run_one = slower
    assert run.train_for("last", [], 0.03, compare.SPNAS) == "last_2"
    assert len(machine.trained) == timed.TRIES


def test_a_comparison_that_goes_on_keeps_its_iterations_and_repeats_nothing(seed):
    machine = Machine()
    seed(machine, (5.0, 0.1)).train_for("last", [], 0.03, compare.SPNAS)
    assert seed(machine, (5.0, 0.3)).train_for("last", [], 0.03, compare.SPNAS) == "last_1"
    assert machine.trained == [5950]


def test_a_step_that_was_killed_begins_anew(seed, tmp_path):
    left = tmp_path / "3" / "start" / "model_0000499.pth"
    left.parent.mkdir(parents=True)
    left.touch()
    run = seed(Machine(), (5.0, 0.1))
    run.run("start", "train_net.py", compare.SPNAS, "SOLVER.MAX_ITER", 10)
    assert not left.exists()
    left.parent.mkdir()
    left.touch()
    run.run("start", "train_net.py", compare.SPNAS, "SOLVER.MAX_ITER", 10)
    assert left.exists()


def test_the_table_has_a_row_for_each_network_with_all_seeds_in_it():
    row = {"network": "11-21", "flops": 99.6, "params": 0.123, "val": 50.04, "test": 48, "test50": 80, "seconds": 601}
    other = {**row, "network": "11-2-1", "test": 49, "seconds": 590.4}
    lines = compare.result_table({"winner": [row, other], "plain": [row, row]}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    results = ["50.0, 50.0", "48.0 (80.0), 49.0 (80.0)", "48.5", "601, 590"]
    assert cells[2][1:] == ["11-21, 11-2-1", "100", "0.12", *results]
    assert cells[3][:3] == ["plain", "11-21", "100"]
