"""What ``--resume`` goes on from when files are damaged."""

import logging

import pytest
import torch
from toy_runs import classification, toy_setup

from detnas.training.trainer import build_trainer


@pytest.fixture
def checkpoints(toy_root, tmp_path):
    """Config of a training that has ended after 6 iterations, with a checkpoint every 2."""
    overrides = {**classification(toy_root), "DATASETS.TEST": "()", "OUTPUT_DIR": tmp_path}
    overrides |= {"SOLVER.CHECKPOINT_PERIOD": 2, "SOLVER.MAX_ITER": 6, "SOLVER.STEPS": "[]"}
    cfg = toy_setup("toy_1_pretrain_supernet", overrides)
    trainer = build_trainer(cfg)
    trainer.train(0, 6)
    files = ["model_0000001.pth", "model_0000003.pth", "model_0000005.pth", "model_final.pth"]
    assert sorted(file.name for file in tmp_path.glob("*.pth")) == files
    return cfg


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])


def resume_with_warnings(cfg, caplog):
    logging.getLogger("detnas").propagate = True
    trainer = build_trainer(cfg, resume=True)
    return trainer, {r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "Checkpoint" in r.msg}


def test_resume_takes_the_newest_whole_checkpoint_if_the_last_one_is_damaged(checkpoints, tmp_path, caplog):
    whole = build_trainer(checkpoints, resume=True)
    cut(tmp_path / "model_final.pth"), cut(tmp_path / "model_0000005.pth")
    # Not of this training, and a network that has diverged.
    torch.save({"model": whole.model.state_dict()}, tmp_path / "best.pth")
    torch.save({"model": {}, "trainer": {"iteration": 99}}, tmp_path / "model_diverged.pth")
    trainer, (words,) = resume_with_warnings(checkpoints, caplog)
    assert words.startswith(f"Checkpoint {tmp_path}/model_final.pth cannot be read: going on from ")
    assert f"{tmp_path}/model_0000003.pth" in words and trainer.start_iter == 4
    trainer.train(4, 6)
    expected = whole.model.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in trainer.model.state_dict().items())
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    assert torch.load(tmp_path / "model_final.pth", weights_only=True)["trainer"]["iteration"] == 5


@pytest.mark.parametrize("last", ["model_final.pth", "", "gone.pth"])
def test_resume_finds_a_checkpoint_and_says_so_where_the_last_ones_name_is_lost(checkpoints, tmp_path, caplog, last):
    (tmp_path / "last_checkpoint").write_text(last)
    trainer, warnings = resume_with_warnings(checkpoints, caplog)
    assert trainer.start_iter == 6 and len(warnings) == (last != "model_final.pth")


def test_resume_without_a_whole_checkpoint_is_an_error(checkpoints, tmp_path):
    for file in tmp_path.glob("*.pth"):
        cut(file)
    with pytest.raises(ValueError, match=f"checkpoint {tmp_path}/model_final.pth cannot be read, and"):
        build_trainer(checkpoints, resume=True)
