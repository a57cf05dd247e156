import copy

import pytest
import torch
from detectron2.engine import hooks
from detectron2.utils.events import EventStorage
from toy_runs import TASKS, command, detection, toy_setup

import train_net
from detnas.training.step import StepTrainer
from detnas.training.trainer import build_trainer


class Line(torch.nn.Module):
    """y = w x with the mean of the squared errors as its loss."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(2.0))
        self.unused = torch.nn.Parameter(torch.tensor(5.0))

    def forward(self, batch):
        return {"loss": torch.stack([(self.w * x["x"] - x["y"]) ** 2 for x in batch]).mean()}


def one_step(accumulate):
    batch = [{"x": float(i), "y": float(i * i)} for i in range(8)]
    model, before = Line(), copy.deepcopy(batch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=0.1)
    trainer = StepTrainer(model, lambda iteration: iter([batch]), optimizer, accumulate)
    trainer.iter = 0
    with EventStorage() as storage:
        trainer.run_step()
    assert batch == before
    # Weight decay leaves a parameter without a gradient alone.
    assert model.unused.item() == 5.0 and model.unused.grad is None
    return model, storage.latest()["total_loss"][0]


@pytest.mark.parametrize("accumulate", [2, 4, 8])
def test_a_batch_in_parts_gives_the_update_and_the_loss_of_the_whole_batch(accumulate):
    whole, loss = one_step(1)
    parts, loss_of_parts = one_step(accumulate)
    assert whole.w.item() != 2.0
    torch.testing.assert_close(parts.w, whole.w)
    assert loss_of_parts == pytest.approx(loss)


@pytest.mark.parametrize("task, data", TASKS.values())
def test_bf16_on_the_cpu_trains_with_nearly_the_losses_of_fp32(toy_root, tmp_path, task, data):
    losses = {}
    for amp in (False, True):
        overrides = {**data(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path, "SOLVER.AMP.ENABLED": amp}
        trainer = build_trainer(toy_setup(task, overrides))
        trainer.iter = trainer.max_iter = 0
        with EventStorage() as trainer.storage:
            trainer.before_train()
            trainer.before_step()
            trainer.run_step()
            losses[amp] = trainer.storage.latest()["total_loss"][0]
        assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    assert losses[True] != losses[False] and losses[True] == pytest.approx(losses[False], rel=0.1)


@pytest.mark.parametrize("part, loss", [("roi_heads", "loss_cls nan"), ("proposal_generator", "proposals nan")])
def test_a_loss_that_is_not_finite_stops_the_training_with_one_sentence_after_saving(toy_root, tmp_path, part, loss):
    overrides = {**detection(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path, "SOLVER.MAX_ITER": 7}
    overrides |= {"SOLVER.CHECKPOINT_PERIOD": 2, "SOLVER.WARMUP_ITERS": 0, "SOLVER.CLIP_GRADIENTS.ENABLED": False}
    overrides["DATASETS.TEST"] = "()"
    args = command("toy_2_train_supernet", {**overrides, "SOLVER.BASE_LR": 0.01})
    trainer = build_trainer(toy_setup("toy_2_train_supernet", {**overrides, "SOLVER.BASE_LR": 0.01}))
    weight = next(p for name, p in trainer.model.named_parameters() if part in name)

    def poison(trainer):
        if trainer.iter == 5:
            weight.data.fill_(float("nan"))

    trainer.register_hooks([hooks.CallbackHook(before_step=poison)])
    with pytest.raises(SystemExit) as caught:
        trainer.train(0, 7)
    message = str(caught.value)
    assert message.startswith("error: a loss is not finite at iteration 5, path ") and "\n" not in message
    assert "learning rate 0.01" in message and loss in message and str(tmp_path) in message
    assert torch.load(tmp_path / "model_diverged.pth", weights_only=True)["iteration"] == 5
    # --resume starts from the last good one.
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000003.pth"
    args.resume = True
    train_net.main(args)
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"


def failing(error, iteration):
    """A trainer whose data fails at an iteration, and what its hooks did."""
    done = []

    def data(start):
        yield from [[{"x": 1.0, "y": 1.0}]] * iteration
        raise error

    def miss():
        done.append("hook")
        raise KeyError("total_loss")

    model = Line()
    trainer = StepTrainer(model, data, torch.optim.SGD(model.parameters(), lr=0.01))
    trainer.register_hooks(
        [
            hooks.EvalHook(0, lambda: done.append("evaluated")),
            hooks.CallbackHook(after_train=lambda _: miss()),
            hooks.CallbackHook(after_train=lambda _: done.append("last")),
        ]
    )
    return trainer, done


@pytest.mark.parametrize("iteration", [0, 1])
def test_a_step_that_fails_ends_the_training_with_its_own_error_after_all_hooks_have_ended(iteration):
    trainer, done = failing(OSError("the disk is gone"), iteration)
    with pytest.raises(OSError, match="the disk is gone"):
        trainer.train(0, 2)
    assert done == ["hook", "last"]


def test_an_error_of_a_hook_at_the_end_of_a_sound_training_is_raised():
    trainer, done = failing(OSError("not reached"), 2)
    with pytest.raises(KeyError, match="total_loss"):
        trainer.train(0, 2)
    assert done == ["evaluated", "hook"]


def test_a_rate_of_100_ends_with_one_sentence(toy_root, tmp_path):
    overrides = {**detection(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path, "DATASETS.TEST": "()",
                 "SOLVER.BASE_LR": "100.0", "SOLVER.WARMUP_ITERS": 0, "SOLVER.MAX_ITER": 50,
                 "SOLVER.CLIP_GRADIENTS.ENABLED": False}
    with pytest.raises(SystemExit, match="^error: a loss is not finite at iteration .*Lower SOLVER.BASE_LR"):
        train_net.main(command("toy_2_train_supernet", overrides))
