import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toy_runs import RETINANET, SMALL_RETINANET, classification, command, detection, on_a_cpu

import train_net

ROOT = Path(__file__).resolve().parents[2]
ITERATIONS = 60


def losses(folder):
    """{iteration: logged losses}, a later line in place of an earlier one."""
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return {line["iteration"]: {k: v for k, v in line.items() if "loss" in k} for line in lines if "total_loss" in line}


@pytest.fixture
def words(toy_root):
    """
    Config and overrides of RetinaNet's training, which keeps a loss normaliser; metrics.json has the medians between
    checkpoints. Of a supernet: test_trainer.py.
    """
    overrides = {**detection(toy_root), "DATASETS.TEST": "()", "MODEL.WEIGHTS": "", "SOLVER.MAX_ITER": ITERATIONS}
    overrides |= {"SOLVER.CHECKPOINT_PERIOD": 20, "SOLVER.STEPS": "(50,)", "SOLVER.IMS_PER_BATCH": 2}
    return RETINANET, overrides | SMALL_RETINANET


@pytest.fixture
def one_thread(monkeypatch):
    """Several threads may sum in another order each time; new processes have one, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(threads)


@on_a_cpu
def test_a_killed_training_logs_the_losses_of_an_uninterrupted_one_when_it_is_resumed(words, tmp_path, one_thread):
    config, overrides = words
    train_net.main(command(config, {**overrides, "OUTPUT_DIR": tmp_path / "whole"}))
    whole = losses(tmp_path / "whole")
    assert list(whole) == [19, 39, 59]

    args = command(config, {**overrides, "OUTPUT_DIR": tmp_path / "killed"}, "--resume")
    line = [sys.executable, "train_net.py", "--config-file", args.config_file, "--resume", *args.opts]
    # Started beside the first, so that the machine's speed does not matter.
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "killed" / "metrics.json"
    while not (metrics.is_file() and metrics.read_text().endswith("\n")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 59 not in losses(tmp_path / "killed")
    train_net.main(args)
    assert losses(tmp_path / "killed") == whole


def test_a_signal_to_all_processes_of_a_training_lets_it_save(toy_root, tmp_path, number=signal.SIGINT):
    overrides = {**classification(toy_root), "OUTPUT_DIR": tmp_path, "SOLVER.MAX_ITER": 10**6}
    args = command("toy_1_pretrain_supernet", {**overrides, "DATALOADER.NUM_WORKERS": 2})
    line = [sys.executable, "train_net.py", "--config-file", args.config_file, *args.opts]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    for output in process.stdout:
        if "iteration 20/" in output:
            break
    os.killpg(process.pid, number)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    (iteration,) = re.findall(r"Stopped after iteration (\d+); --resume continues", rest)
    assert (tmp_path / "last_checkpoint").read_text() == f"model_{int(iteration):07d}.pth"
