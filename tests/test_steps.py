import os
import sys

import pytest

from find_detector import steps
from find_detector.steps import StepFailed, run_step

SAYS = """
import os, sys
print("[time logger]: iteration 1/2  loss 3.0  eta 0:00:01")
print("something else", os.environ["OMP_NUM_THREADS"])
print("to stderr", file=sys.stderr)
print("family: [time logger]: generation 2/8  candidate 3/12 ")
print("* round 1")
"""


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.txt"


@pytest.mark.parametrize("users, threads", [(None, 3), ("5", 5)])
def test_a_step_tells_how_far_it_is_and_everything_is_in_the_log(log, monkeypatch, users, threads):
    # The number of threads is the user's where he says it.
    monkeypatch.setenv("OMP_NUM_THREADS", users) if users else monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    said = []
    seconds = run_step(["-c", SAYS], log, said.append, threads=3)
    assert [told.groups() for told in said] == [
        (None, "iteration 1/2  loss 3.0  eta 0:00:01", None), ("family: ", "generation 2/8  candidate 3/12 ", None),
        (None, None, "round 1")]
    assert 0 < seconds < 60
    text = log.read_text()
    assert text.startswith("\n$ python -c") and f"something else {threads}" in text and "to stderr" in text


def test_a_step_that_fails_names_its_log(log):
    with pytest.raises(StepFailed, match=f"failed: ValueError: no such thing. Its output is in {log}"):
        run_step(["-c", "import atexit; atexit.register(print, 'a last line'); raise ValueError('no such thing')"],
                 log, print)
    assert "no such thing" in log.read_text()


def test_a_step_that_is_killed_says_so(log):
    with pytest.raises(StepFailed, match="failed: ended by signal 9. Its"):
        run_step(["-c", "import os; print('begun', flush=True); os.kill(os.getpid(), 9)"], log, print)


@pytest.mark.skipif(sys.platform == "win32", reason="files are inherited otherwise there")
def test_a_step_inherits_the_files_it_is_given(log, tmp_path):
    with open(tmp_path / "lock", "w") as file:
        run_step(["-c", f"import os; os.write({file.fileno()}, b'mine')"], log, print, pass_fds=(file.fileno(),))
    assert (tmp_path / "lock").read_text() == "mine"
    assert os.path.getsize(log)


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell there")
def test_seconds_of_a_core_are_those_of_the_step_and_of_its_processes_alone(log):
    works = "import time; end = time.process_time() + 0.6\nwhile time.process_time() < end: pass"
    seconds = run_step(["-c", "import time; time.sleep(1)"], log, print, cpu=True)
    assert seconds < 0.5
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {works!r}])"
    assert 0.6 < run_step(["-c", start], log, print, cpu=True) < 2
    with pytest.raises(StepFailed):
        run_step(["-c", "raise SystemExit(3)"], log, print, cpu=True)


def test_programs_side_by_side_share_a_line(monkeypatch, capsys):
    display = steps._Display("training")
    monkeypatch.setattr(steps.sys.stdout, "isatty", lambda: True, raising=False)
    display.on_terminal = True
    monkeypatch.setattr(steps.shutil, "get_terminal_size", lambda: os.terminal_size((60, 20)))
    for line in ("a: [x]: iteration 1/9  loss 3.0 (cls 1)  8 img/s  lr 0.1  eta 0:01  9% of it waiting for data",
                 "b: [x]: iteration 5/9  loss 2.0", "* found", "a: has ended", "b: [x]: iteration 6/9  loss 1.5"):
        display(steps._PROGRESS.match(line))
    shown = capsys.readouterr().out.replace("\033[K", "").split("\r")[1:]
    assert shown == ["  training: a: iteration 1/9  loss 3.0  eta 0:01",
                     "  training: a: iteration 1/9  loss 3.0  eta 0:01  |  b: ite", "  found\n",
                     "  training: b: iteration 6/9  loss 1.5"]
