import json
import logging
import re

import pytest
import torch
from detectron2.engine import hooks
from toy_runs import classification, detection, toy_setup

from detnas.training import progress as progress_module
from detnas.training.progress import ProgressLine
from detnas.training.step import StepTrainer
from detnas.training.trainer import build_trainer


def said_in(trainer, start, end, caplog):
    """What a training says of its progress."""
    caplog.set_level("INFO", "detnas.training.progress")
    # Detectron2's loggers do not pass their messages on.
    logging.getLogger("detnas").propagate = True
    trainer.train(start, end)
    return [r.getMessage() for r in caplog.records if r.name == "detnas.training.progress"]


def progress(caplog, name, overrides, iterations=20):
    trainer = build_trainer(toy_setup(name, {**overrides, "DATASETS.TEST": "()", "SOLVER.MAX_ITER": iterations}))
    return said_in(trainer, 0, iterations, caplog)


def test_the_line_of_a_supernet_says_path_losses_speed_and_time_left(toy_root, tmp_path, caplog):
    overrides = {**detection(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path, "DATASETS.TEST": "()"}
    first, line = progress(caplog, "toy_2_train_supernet", overrides)
    assert re.match(
        r"iteration 20/20  path \d\d-\d\d-\d\d-\d\d  loss [\d.]+ \(cls [\d.e-]+, box_reg [\d.e-]+, rpn_cls [\d.e-]+, "
        r"rpn_loc [\d.e-]+\)  [\d.]+ img/s  lr [\d.e-]+  eta 0:00:0\d",
        line,
    )
    assert re.match(r"iteration 1/20  path \d\d-\d\d-\d\d-\d\d  loss [\d.]+ \(cls", first)


def test_the_line_of_a_single_network_has_no_path_and_metrics_come_every_20_iterations(toy_root, tmp_path, caplog):
    overrides = {**classification(toy_root), "OUTPUT_DIR": tmp_path, "MODEL.DETNAS.ARCH": "00000000"}
    _, line, *_ = progress(caplog, "toy_1_pretrain_supernet", overrides, iterations=43)
    assert re.match(r"iteration 20/43  loss [\d.]+  [\d.]+ img/s  lr", line)
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [19, 39, 42]


@pytest.fixture
def timed(monkeypatch, caplog):
    """Function that trains on a clock of its own and gives what is said: seconds of a step, and of it for the data."""
    clock = [1000.0]
    monkeypatch.setattr(progress_module.time, "perf_counter", lambda: clock[0])

    def train(start, end, step, data=0.0, between=0.0, **settings):
        class Step(StepTrainer):
            def run_step(self):
                clock[0] += step
                self._write_metrics({"loss": torch.tensor(1.0)}, data)

        model = torch.nn.Linear(1, 1)
        trainer = Step(model, None, torch.optim.SGD(model.parameters(), lr=0.1))

        def pause(_):
            clock[0] += between

        trainer.register_hooks([ProgressLine(2, **settings), hooks.CallbackHook(after_step=pause)])
        return said_in(trainer, start, end, caplog)

    return train


def iterations(lines):
    return [int(re.match(r"iteration (\d+)/", line)[1]) for line in lines if line.startswith("iteration")]


@pytest.mark.parametrize("start, end, step, expected", [
    (0, 45, 0.1, [1, 20, 40, 45]),
    (30, 45, 0.1, [31, 40, 45]),
    (0, 25, 9, [1, 5, 9, 13, 17, 20, 24, 25]),
    (0, 4, 40, [1, 2, 3, 4]),
])
def test_a_line_comes_first_every_20_iterations_and_every_30_seconds(timed, start, end, step, expected):
    assert iterations(timed(start, end, step)) == expected


def test_a_slow_step_on_a_cpu_names_once_the_settings_that_make_it_smaller(timed):
    lines = timed(0, 5, 9.0, data=1.0, on_cpu=True)
    (words,) = [line for line in lines if not line.startswith("iteration")]
    assert words.startswith("A step takes 8 s on this CPU; smaller MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE, ")
    assert "MODEL.FPN.OUT_CHANNELS, or MODEL.DETNAS.SPACE tiny, make it shorter" in words


@pytest.mark.parametrize("settings", [
    {"step": 9.0, "on_cpu": False},
    {"step": 4.0, "on_cpu": True},
    {"step": 9.0, "data": 5.0, "on_cpu": True},
    {"step": 1.0, "between": 60.0, "on_cpu": True},
], ids=["GPU", "quick", "waiting for data", "evaluation"])
def test_nothing_is_said_of_a_step_that_is_not_slow_or_on_a_gpu(timed, settings):
    assert all(line.startswith("iteration") for line in timed(0, 3, **settings))
