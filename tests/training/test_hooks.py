import json
import os
import re
import signal
import time

import pytest
import torch
from forked import forked
from toy_runs import RETINANET, SMALL_RETINANET, classification, command, detection, on_a_cpu

import train_net

ITERATIONS = 40


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
    overrides |= {"SOLVER.CHECKPOINT_PERIOD": 20, "SOLVER.STEPS": "(30,)", "SOLVER.IMS_PER_BATCH": 2}
    return RETINANET, overrides | SMALL_RETINANET


@pytest.fixture
def one_thread():
    """Several threads may sum in another order each time; forks have one, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@on_a_cpu
def test_a_killed_training_logs_the_losses_of_an_uninterrupted_one_when_it_is_resumed(words, tmp_path, one_thread):
    config, overrides = words
    train_net.main(command(config, {**overrides, "OUTPUT_DIR": tmp_path / "whole"}))
    whole = losses(tmp_path / "whole")
    assert list(whole) == [19, 39]

    args = command(config, {**overrides, "OUTPUT_DIR": tmp_path / "killed"}, "--resume")
    metrics, said = tmp_path / "killed" / "metrics.json", tmp_path / "said.txt"
    with forked(said, train_net.main, args) as process:
        while not (metrics.is_file() and metrics.read_text().endswith("\n")):
            assert process.is_alive(), said.read_text()
            time.sleep(0.02)
        process.kill()
        process.join()
    assert 39 not in losses(tmp_path / "killed")
    train_net.main(args)
    assert losses(tmp_path / "killed") == whole


def test_a_signal_to_all_processes_of_a_training_lets_it_save(toy_root, tmp_path, number=signal.SIGINT):
    overrides = {**classification(toy_root), "OUTPUT_DIR": tmp_path / "run", "SOLVER.MAX_ITER": 10**6}
    args = command("toy_1_pretrain_supernet", {**overrides, "DATALOADER.NUM_WORKERS": 2})
    said = tmp_path / "said.txt"
    with forked(said, train_net.main, args) as process:
        while not (said.is_file() and "iteration 20/" in said.read_text()):
            assert process.is_alive(), said.read_text()
            time.sleep(0.02)
        os.killpg(process.pid, number)
        process.join(60)
        assert process.exitcode == 128 + number
    (iteration,) = re.findall(r"Stopped after iteration (\d+); --resume continues", said.read_text())
    assert (tmp_path / "run" / "last_checkpoint").read_text() == f"model_{int(iteration):07d}.pth"
