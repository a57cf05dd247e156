import contextlib
import multiprocessing
import os
import signal

import pytest
import torch
from detectron2.engine import hooks
from detectron2.utils.events import EventStorage
from supernet_runs import find_supernet
from toy_runs import TASKS, classification, command, detection, on_a_cpu, toy_setup

import train_net
from detnas import get_space
from detnas.launch.setup import launch
from detnas.training.sampling import UniformSampler
from detnas.training.trainer import build_trainer, lock_output_folder

SPACE = get_space("tiny")


@contextlib.contextmanager
def steps(trainer):
    """Function that runs one training step with all hooks."""
    trainer.max_iter = 1000
    with EventStorage(0) as trainer.storage:
        trainer.before_train()

        def step(iteration):
            trainer.iter = iteration
            trainer.before_step()
            trainer.run_step()
            trainer.after_step()

        yield step


def snapshot(trainer):
    """{(block, op): {name: tensor}} of all parameters, buffers and optimizer states of the supernet's ops."""
    state = trainer.optimizer.state
    result = {}
    for block, ops in enumerate(find_supernet(trainer.model).choice_blocks()):
        for op, module in enumerate(ops):
            tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            for name, parameter in module.named_parameters():
                for key, value in state.get(parameter, {}).items():
                    if value is not None:
                        tensors[f"{name} {key}"] = value
            result[block, op] = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    return result


def differences(before, after):
    return sorted(name for name in after if name not in before or not torch.equal(before[name], after[name]))


@pytest.fixture
def classifier_cfg(toy_root, tmp_path):
    return toy_setup("toy_1_pretrain_supernet", {**classification(toy_root), "OUTPUT_DIR": tmp_path})


@pytest.fixture(params=list(TASKS))
def trainer(request, toy_root, tmp_path):
    name, data = TASKS[request.param]
    decay = {"SOLVER.MOMENTUM": 0.9, "SOLVER.WEIGHT_DECAY": 1e-2, "SOLVER.WEIGHT_DECAY_NORM": 1e-2}
    return build_trainer(toy_setup(name, {**data(toy_root), **decay, "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path}))


def test_a_step_changes_nothing_of_an_unsampled_block_and_moves_the_sampled_ones(trainer):
    supernet = find_supernet(trainer.model)
    had_momentum = 0
    with steps(trainer) as step:
        before = snapshot(trainer)
        for iteration in range(8):
            step(iteration)
            after = snapshot(trainer)
            for (block, op), tensors in after.items():
                changed = differences(before[block, op], tensors)
                if supernet.path[block] == op:
                    weights = [name for name in tensors if name.endswith(".weight")]
                    assert set(weights) <= set(changed)
                    assert {f"{name} momentum_buffer" for name in weights} <= set(changed)
                else:
                    assert changed == []
                    had_momentum += any(t.abs().sum() > 0 for n, t in tensors.items() if "momentum_buffer" in n)
            before = after
    # Blocks that were trained before are the ones that momentum could move.
    assert had_momentum > 20


def test_every_step_moves_the_parts_outside_of_the_choice_blocks(trainer):
    shared = {n: p for n, p in trainer.model.named_parameters() if "bottom_up.stage" not in n and n.endswith("weight")}
    with steps(trainer) as step:
        for iteration in range(2):
            before = {name: p.detach().clone() for name, p in shared.items()}
            step(iteration)
            assert all(not torch.equal(before[name], p) for name, p in shared.items())


def stop_at(trainer, iteration, number):
    trainer.register_hooks(
        [hooks.CallbackHook(before_step=lambda t: os.kill(os.getpid(), number) if t.iter == iteration else None)]
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_iteration_and_saves_it(classifier_cfg, tmp_path, number):
    handler = signal.getsignal(number)
    trainer = build_trainer(classifier_cfg)
    stop_at(trainer, 3, number)
    with pytest.raises(SystemExit) as caught:
        trainer.train(0, 8)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) == handler
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000003.pth"
    saved = torch.load(tmp_path / "model_0000003.pth", weights_only=True)
    assert saved["iteration"] == 3
    assert all(torch.equal(saved["model"][key], value) for key, value in trainer.model.state_dict().items())


def test_resume_goes_on_where_the_signal_stopped_the_training(classifier_cfg, tmp_path):
    trainer = build_trainer(classifier_cfg)
    stop_at(trainer, 3, signal.SIGTERM)
    with pytest.raises(SystemExit):
        trainer.train(0, 8)
    stopped = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    momentum = [state["momentum_buffer"] for state in trainer.optimizer.state_dict()["state"].values()]

    trainer = build_trainer(classifier_cfg, resume=True)
    assert trainer.start_iter == 4
    assert all(torch.equal(stopped[key], value) for key, value in trainer.model.state_dict().items())
    resumed = [state["momentum_buffer"] for state in trainer.optimizer.state_dict()["state"].values()]
    assert len(resumed) == len(momentum) > 0
    assert all(torch.equal(a, b) if a is not None else b is None for a, b in zip(momentum, resumed))

    done = []
    supernet = find_supernet(trainer.model)
    trainer.register_hooks([hooks.CallbackHook(after_step=lambda t: done.append((t.iter, supernet.path)))])
    trainer.train(trainer.start_iter, 8)
    sampler = UniformSampler(SPACE, seed=0)
    assert done == [(i, sampler(i)) for i in range(4, 8)]
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("task", ["classifier", pytest.param("detector", marks=on_a_cpu)])
def test_a_resumed_training_ends_as_one_that_was_not_interrupted(toy_root, tmp_path, task, workers):
    def run(folder, stop):
        name, data = TASKS[task]
        overrides = {"OUTPUT_DIR": tmp_path / folder, "MODEL.WEIGHTS": "", "DATALOADER.NUM_WORKERS": workers}
        overrides |= {"DATASETS.TEST": "()"}
        cfg = toy_setup(name, {**data(toy_root), **overrides})
        trainer = build_trainer(cfg)
        if stop:
            stop_at(trainer, 3, signal.SIGTERM)
            with pytest.raises(SystemExit):
                trainer.train(0, 7)
            # What the process would have lost.
            torch.manual_seed(99)
            trainer = build_trainer(cfg, resume=True)
        trainer.train(trainer.start_iter, 7)
        return trainer.model.state_dict()

    uninterrupted, resumed = run("whole", False), run("resumed", True)
    assert differences(uninterrupted, resumed) == []


def test_data_workers_end_with_the_training(toy_root, tmp_path):
    overrides = {"OUTPUT_DIR": tmp_path, "DATALOADER.NUM_WORKERS": 2, "DATASETS.TEST": "()"}
    trainer = build_trainer(toy_setup("toy_1_pretrain_supernet", {**classification(toy_root), **overrides}))
    before, during = set(multiprocessing.active_children()), []
    trainer.register_hooks([hooks.CallbackHook(after_step=lambda _: during.extend(multiprocessing.active_children()))])
    trainer.train(0, 2)
    assert len(set(during) - before) == 2
    assert not set(multiprocessing.active_children()) - before


def test_resume_without_a_checkpoint_starts_from_the_beginning(classifier_cfg):
    assert build_trainer(classifier_cfg, resume=True).start_iter == 0


def test_a_detector_starts_from_the_pretrained_supernet(classifier_cfg, toy_root, tmp_path):
    pretrained = build_trainer(classifier_cfg)
    pretrained.train(0, 2)
    torch.save({"model": pretrained.model.state_dict()}, tmp_path / "pretrained.pth")
    overrides = {**detection(toy_root), "MODEL.WEIGHTS": tmp_path / "pretrained.pth", "OUTPUT_DIR": tmp_path / "2"}
    detector = build_trainer(toy_setup("toy_2_train_supernet", overrides)).model.state_dict()
    body = {k: v for k, v in pretrained.model.state_dict().items() if k.startswith("backbone.bottom_up.")}
    assert len(body) > 100 and all(torch.equal(detector[key], value) for key, value in body.items())


def test_a_second_training_in_a_folder_is_one_sentence_and_leaves_it_as_it_is(toy_root, tmp_path, capfd):
    folder = tmp_path / "run"
    overrides = {**classification(toy_root), "OUTPUT_DIR": folder}
    with lock_output_folder(str(folder)), pytest.raises(SystemExit) as caught:
        launch(train_net.main, command("toy_1_pretrain_supernet", overrides))
    assert caught.value.code == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: another training is running in {folder}: give another OUTPUT_DIR, or wait for it"]
    assert not {file.name for file in folder.iterdir()} - {"run.lock", "log.txt"}
