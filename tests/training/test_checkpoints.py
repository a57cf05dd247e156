"""What ``--resume`` goes on from when files are damaged."""

import logging
import re
import shutil

import pytest
import torch
from toy_runs import classification, command, toy_setup

import train_net
from detnas.config.load import with_settings
from detnas.errors import UserError
from detnas.training.step import StepTrainer
from detnas.training.trainer import build_trainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def checkpoints(toy_root, trained, tmp_path):
    """Config of a training that has ended after 6 iterations, with a checkpoint every 2."""
    overrides = {**classification(toy_root), "DATASETS.TEST": "()"}
    overrides |= {"SOLVER.CHECKPOINT_PERIOD": 2, "SOLVER.MAX_ITER": 6, "SOLVER.STEPS": "[]"}
    if not (trained / "last_checkpoint").is_file():
        build_trainer(toy_setup("toy_1_pretrain_supernet", {**overrides, "OUTPUT_DIR": trained})).train(0, 6)
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    files = ["model_0000001.pth", "model_0000003.pth", "model_0000005.pth", "model_final.pth"]
    assert sorted(file.name for file in tmp_path.glob("*.pth")) == files
    return toy_setup("toy_1_pretrain_supernet", {**overrides, "OUTPUT_DIR": tmp_path})


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])


def resume_with_warnings(cfg, caplog):
    logging.getLogger("detnas").propagate = True
    trainer = build_trainer(cfg, resume=True)
    return trainer, {r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "going on" in r.msg}


def test_resume_takes_the_newest_whole_checkpoint_if_the_last_one_is_damaged(checkpoints, tmp_path, caplog):
    whole = build_trainer(checkpoints, resume=True)
    cut(tmp_path / "model_final.pth"), cut(tmp_path / "model_0000005.pth")
    # Not of this training, and a network that has diverged.
    torch.save({"model": whole.model.state_dict()}, tmp_path / "best.pth")
    torch.save({"model": {}, "trainer": {"iteration": 99}}, tmp_path / "model_diverged.pth")
    trainer, (words,) = resume_with_warnings(checkpoints, caplog)
    assert words.startswith(f"{tmp_path}/model_final.pth is damaged: going on from ")
    assert f"{tmp_path}/model_0000003.pth" in words and trainer.start_iter == 4
    trainer.train(4, 6)
    expected = whole.model.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in trainer.model.state_dict().items())
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    assert torch.load(tmp_path / "model_final.pth", weights_only=True)["trainer"]["iteration"] == 5


@pytest.mark.parametrize("last", ["model_final.pth", "", "gone.pth", "../../other.pth", "\0", "\udcff"])
def test_resume_finds_a_checkpoint_and_says_so_where_the_last_ones_name_is_lost(checkpoints, tmp_path, caplog, last):
    (tmp_path / "last_checkpoint").write_bytes(last.encode(errors="surrogateescape"))
    trainer, warnings = resume_with_warnings(checkpoints, caplog)
    assert trainer.start_iter == 6 and len(warnings) == (last != "model_final.pth")


def test_resume_without_a_whole_checkpoint_is_an_error(checkpoints, tmp_path):
    for file in tmp_path.glob("*.pth"):
        cut(file)
    with pytest.raises(UserError, match=f"{tmp_path}/model_final.pth is damaged, and"):
        build_trainer(checkpoints, resume=True)


def of_a_weight(change):
    """Function that changes the weights of the last layer among a checkpoint's parts."""
    return lambda parts: parts["model"].update({"linear.weight": change(parts["model"]["linear.weight"])})


def small_momentum(parts):
    for state in parts["trainer"]["optimizer"]["state"].values():
        state["momentum_buffer"] = torch.zeros(3)


@pytest.mark.parametrize("change, words", [
    (of_a_weight(lambda weight: weight.long()), "is torch.int64, not torch.float32"),
    (of_a_weight(lambda weight: weight.to(torch.complex64)), "is torch.complex64, not torch.float32"),
    (of_a_weight(lambda weight: weight[:1]), "do not match the model: 1 shapes differ"),
    (lambda parts: parts["model"].popitem(), "do not match the model: 1 names are missing in the file"),
    (small_momentum, "is of another training than this, or damaged (ValueError: momentum of another shape)"),
    (lambda parts: parts["trainer"]["optimizer"]["param_groups"].pop(), "(ValueError: loaded state dict has a diff"),
    (lambda parts: parts["trainer"].update(hooks=None), "is of another training than this, or damaged (AttributeError"),
])
def test_a_checkpoint_of_something_else_is_refused(checkpoints, tmp_path, change, words):
    parts = torch.load(tmp_path / "model_final.pth", weights_only=True)
    change(parts)
    torch.save(parts, tmp_path / "model_final.pth")
    with pytest.raises(UserError, match=re.escape(words)):
        build_trainer(checkpoints, resume=True)


@pytest.mark.parametrize("parts", [
    [], torch.zeros(3), {"model": {}}, {"model": None, "trainer": {"iteration": 5, "optimizer": {}}},
    {"model": {"a": [1]}, "trainer": {"iteration": 5, "optimizer": {}}},
    *({"model": {}, "trainer": trainer} for trainer in (None, 5, {"iteration": 5}, {"iteration": -1, "optimizer": {}})),
])
def test_what_is_no_checkpoint_of_a_training_is_passed_over(checkpoints, tmp_path, caplog, parts):
    torch.save(parts, tmp_path / "model_final.pth")
    trainer, (words,) = resume_with_warnings(checkpoints, caplog)
    assert f"going on from {tmp_path}/model_0000005.pth" in words and trainer.start_iter == 6
    # As after a kill between the two.
    assert torch.load(tmp_path / "model_final.pth", weights_only=True)["iteration"] == 5


def test_resume_takes_the_learning_rate_and_weight_decay_of_its_config(checkpoints, tmp_path):
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    changed = {"SOLVER.BASE_LR": 0.5 * checkpoints.SOLVER.BASE_LR, "SOLVER.WEIGHT_DECAY": 0.25}
    same, other = (build_trainer(with_settings(checkpoints, settings), resume=True) for settings in ({}, changed))
    saved = torch.load(tmp_path / "model_0000001.pth", weights_only=True)["trainer"]["optimizer"]["param_groups"]
    assert [group["lr"] for group in same.optimizer.param_groups] == [group["lr"] for group in saved]
    assert {group["weight_decay"] for group in other.optimizer.param_groups} == {0, 0.25}
    for trainer in (same, other):
        trainer.train(2, 4)
    halves = [0.5 * group["lr"] for group in same.optimizer.param_groups]
    assert [group["lr"] for group in other.optimizer.param_groups] == pytest.approx(halves) and halves[0] > 0


def test_resume_does_not_go_on_from_an_earlier_training_of_the_folder(checkpoints, toy_root, tmp_path, monkeypatch):
    # A training that is stopped at once.
    monkeypatch.setattr(StepTrainer, "train", lambda *_: None)
    overrides = {**classification(toy_root), "DATASETS.TEST": "()", "OUTPUT_DIR": tmp_path}
    train_net.main(command("toy_1_pretrain_supernet", overrides))
    assert build_trainer(checkpoints, resume=True).start_iter == 0 and (tmp_path / "model_final.pth").is_file()
