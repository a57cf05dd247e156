import contextlib
import json
import multiprocessing
import os
import signal

import pytest
import rank_report
import torch
from detectron2.engine import hooks
from detectron2.utils.events import EventStorage
from toy_runs import TASKS, classification, command, detection, toy_setup

import train_net
from detnas import get_space
from detnas.launch.setup import launch
from detnas.modeling.backbone import find_supernet
from detnas.search.log import SearchLog
from detnas.training.sampling import UniformSampler
from detnas.training.trainer import build_trainer, only_run

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


def test_gradients_of_unsampled_blocks_are_none(trainer):
    supernet = find_supernet(trainer.model)
    with steps(trainer) as step:
        for iteration in range(3):
            step(iteration)
            assert all(p.grad is None for op in supernet.unsampled_ops() for p in op.parameters())
            sampled = [block[block.choice] for block in supernet.choice_blocks()]
            assert all(p.grad is not None for op in sampled for p in op.parameters())


def test_each_iteration_trains_the_path_of_the_sampler(trainer):
    paths = []
    trainer.register_hooks([hooks.CallbackHook(after_step=lambda t: paths.append(find_supernet(t.model).path))])
    trainer.train(0, 4)
    sampler = UniformSampler(SPACE, seed=0)
    assert paths == [sampler(i) for i in range(4)]


def test_two_trainings_with_one_seed_are_equal(toy_root, tmp_path):
    weights = []
    for name in ("a", "b"):
        overrides = {**detection(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path / name}
        trainer = build_trainer(toy_setup("toy_2_train_supernet", overrides))
        trainer.train(0, 3)
        weights.append(trainer.model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_single_network_trains_without_a_path(toy_root, tmp_path):
    overrides = {**classification(toy_root), "MODEL.DETNAS.ARCH": "21300123", "OUTPUT_DIR": tmp_path}
    trainer = build_trainer(toy_setup("toy_1_pretrain_supernet", {**overrides, "SOLVER.MAX_ITER": 2}))
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train(0, 2)
    assert find_supernet(trainer.model) is None
    assert all(not torch.equal(before[n], p) for n, p in trainer.model.named_parameters() if n.endswith("weight"))
    last = json.loads((tmp_path / "metrics.json").read_text().splitlines()[-1])
    assert 0 <= last["classification/top1"] <= 100


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
@pytest.mark.parametrize("task", list(TASKS))
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


def test_resume_follows_the_learning_rate_of_an_uninterrupted_training(classifier_cfg):
    def rates(trainer, last):
        found = []
        trainer.register_hooks(
            [hooks.CallbackHook(before_step=lambda t: found.append(t.optimizer.param_groups[0]["lr"]))]
        )
        with contextlib.suppress(SystemExit):
            trainer.train(trainer.start_iter, last)
        return found

    first = build_trainer(classifier_cfg)
    first.start_iter = 0
    uninterrupted = rates(first, 8)
    interrupted = build_trainer(classifier_cfg)
    interrupted.start_iter = 0
    stop_at(interrupted, 3, signal.SIGTERM)
    start = rates(interrupted, 8)
    assert start + rates(build_trainer(classifier_cfg, resume=True), 8) == uninterrupted
    assert len(set(uninterrupted)) > 1


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


def test_two_cpu_processes_train_the_same_paths_to_the_same_parameters(toy_root, tmp_path):
    overrides = {**detection(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path, "SOLVER.MAX_ITER": 5}
    launch(rank_report.main, command("toy_2_train_supernet", overrides, "--cpu-processes", "2"))
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["world_size"] == second["world_size"] == 2 and first["norm"] == "naiveSyncBN"
    sampler = UniformSampler(SPACE, seed=0)
    assert first["paths"] == second["paths"] == [list(sampler(i)) for i in range(5)]
    assert first["after"] == second["after"] and first["before"] == second["before"] != first["after"]
    # Each rank has its own half of every batch.
    assert all(len(a) == len(b) == 2 and not set(a) & set(b) for a, b in zip(first["images"][:5], second["images"][:5]))


def test_a_mistake_in_two_cpu_processes_is_one_line_and_exit_code_2(toy_root, tmp_path, capfd):
    overrides = {**classification(toy_root), "OUTPUT_DIR": tmp_path / "run", "MODEL.DETNAS.ARCH": "2120"}
    with pytest.raises(SystemExit) as caught:
        launch(train_net.main, command("toy_1_pretrain_supernet", overrides, "--cpu-processes", "2"))
    assert caught.value.code == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors == ['error: MODEL.DETNAS.ARCH "2120": 4 blocks; space "tiny" has 8 (2-2-2-2)']
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_training_in_a_folder_is_one_sentence_and_leaves_it_as_it_is(toy_root, tmp_path, capfd, processes):
    folder = tmp_path / "run"
    overrides = {**classification(toy_root), "OUTPUT_DIR": folder}
    flags = ["--cpu-processes", "2"] if processes == 2 else []
    with only_run(str(folder)), pytest.raises(SystemExit) as caught:
        launch(train_net.main, command("toy_1_pretrain_supernet", overrides, *flags))
    assert caught.value.code == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors == [f"error: another training is running in {folder}: give another OUTPUT_DIR, or wait for it"]
    assert not {file.name for file in folder.iterdir()} - {"run.lock", "log.txt", "log.txt.rank1"}


def test_a_training_in_the_folder_of_a_running_search_is_refused_and_the_other_way_round(tmp_path):
    log = SearchLog(str(tmp_path), SPACE, {"space": "tiny"})
    with pytest.raises(ValueError, match="^a search is running in"), only_run(str(tmp_path)):
        pass
    log.close()
    with only_run(str(tmp_path)):
        with pytest.raises(ValueError, match="^a training is running in"):
            SearchLog(str(tmp_path), SPACE, {"space": "tiny"})
        # Reading is no writing.
        assert SearchLog(str(tmp_path), SPACE).history() == []
    SearchLog(str(tmp_path), SPACE, {"space": "tiny"}).close()
