import multiprocessing
import os
import signal

import pytest
import torch
from detectron2.engine import hooks
from detectron2.utils.events import EventStorage
from supernet_runs import find_supernet
from toy_runs import TASKS, classification, detection, on_a_cpu, toy_setup

from detnas.training.trainer import build_trainer


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


def test_a_step_changes_nothing_of_an_unsampled_block_and_moves_the_sampled_ones_and_all_other_parts(trainer):
    supernet = find_supernet(trainer.model)
    shared = {n: p for n, p in trainer.model.named_parameters() if "bottom_up.stage" not in n and n.endswith("weight")}
    had_momentum, trainer.max_iter = 0, 1000
    with EventStorage(0) as trainer.storage:
        trainer.before_train()
        before = snapshot(trainer)
        for trainer.iter in range(8):
            outside = {name: p.detach().clone() for name, p in shared.items()}
            trainer.before_step()
            trainer.run_step()
            trainer.after_step()
            after = snapshot(trainer)
            assert differences(outside, shared) == sorted(shared)
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


@pytest.mark.parametrize("task, workers", [("classifier", 0), pytest.param("detector", 2, marks=on_a_cpu)])
def test_a_resumed_training_ends_as_one_that_was_not_interrupted(toy_root, tmp_path, task, workers):
    name, data = TASKS[task]
    settings = {**data(toy_root), "MODEL.WEIGHTS": "", "DATALOADER.NUM_WORKERS": workers, "DATASETS.TEST": "()"}
    uninterrupted = build_trainer(toy_setup(name, {**settings, "OUTPUT_DIR": tmp_path / "whole"}))
    uninterrupted.train(0, 7)
    cfg = toy_setup(name, {**settings, "OUTPUT_DIR": tmp_path / "resumed"})
    trainer = build_trainer(cfg, resume=True)
    assert trainer.start_iter == 0
    stop_at(trainer, 3, signal.SIGTERM)
    with pytest.raises(SystemExit):
        trainer.train(0, 7)
    # What the process would have lost.
    torch.manual_seed(99)
    trainer = build_trainer(cfg, resume=True)
    assert trainer.start_iter == 4
    trainer.train(4, 7)
    assert differences(uninterrupted.model.state_dict(), trainer.model.state_dict()) == []
    assert (tmp_path / "resumed" / "last_checkpoint").read_text() == "model_final.pth"


def test_data_workers_end_with_the_training(toy_root, tmp_path):
    overrides = {"OUTPUT_DIR": tmp_path, "DATALOADER.NUM_WORKERS": 2, "DATASETS.TEST": "()"}
    trainer = build_trainer(toy_setup("toy_1_pretrain_supernet", {**classification(toy_root), **overrides}))
    before, during = set(multiprocessing.active_children()), []
    trainer.register_hooks([hooks.CallbackHook(after_step=lambda _: during.extend(multiprocessing.active_children()))])
    trainer.train(0, 2)
    assert len(set(during) - before) == 2
    assert not set(multiprocessing.active_children()) - before


def test_a_detector_starts_from_the_pretrained_supernet(classifier_cfg, toy_root, tmp_path):
    pretrained = build_trainer(classifier_cfg)
    pretrained.train(0, 2)
    torch.save({"model": pretrained.model.state_dict()}, tmp_path / "pretrained.pth")
    overrides = {**detection(toy_root), "MODEL.WEIGHTS": tmp_path / "pretrained.pth", "OUTPUT_DIR": tmp_path / "2"}
    detector = build_trainer(toy_setup("toy_2_train_supernet", overrides)).model.state_dict()
    body = {k: v for k, v in pretrained.model.state_dict().items() if k.startswith("backbone.bottom_up.")}
    assert len(body) > 100 and all(torch.equal(detector[key], value) for key, value in body.items())
