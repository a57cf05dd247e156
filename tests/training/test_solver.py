import copy
import math

import detectron2.solver
import pytest
import torch
from detectron2.modeling import build_model

from detnas.config.load import load_config
from detnas.errors import UserError
from detnas.training.solver import build_optimizer, build_schedule


def draw_gradients(model, seed, every=False):
    """
    Gradients for two parameters of three or for all, of which one overflows, one vanishes and one is no number; and
    their copies.
    """
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)
    for number, p in enumerate(model.parameters()):
        scale = (0.01, 1, 1e25, 1e-30, math.nan)[number % 5 if number < 10 else number % 2]
        p.grad = None if number % 3 == 2 and not every else torch.empty_like(p).normal_(generator=generator) * scale
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def bits(tensor):
    return tensor.detach().view(torch.int32)


def rates(**settings):
    """Learning rate of each iteration, and after the last one."""
    cfg = load_config(None, [word for pair in settings.items() for word in (f"SOLVER.{pair[0]}", str(pair[1]))])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=cfg.SOLVER.BASE_LR)
    schedule = build_schedule(cfg, optimizer)
    found = []
    for _ in range(cfg.SOLVER.MAX_ITER + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(found) <= cfg.SOLVER.MAX_ITER:
            schedule.step()
    return found


def test_the_linear_schedule_falls_in_equal_steps_to_exactly_zero_also_after_a_warm_up():
    linear = {"LR_SCHEDULER_NAME": "LinearLR", "BASE_LR": 0.5, "MAX_ITER": 10}
    found = rates(**linear, WARMUP_ITERS=0)
    assert found == pytest.approx([0.5 - 0.05 * i for i in range(11)])
    assert found[0] == 0.5 and found[-1] == 0.0
    found = rates(**linear, WARMUP_ITERS=4, WARMUP_FACTOR=0.1)
    assert found[0] == pytest.approx(0.05) and found == sorted(found[:5]) + sorted(found[5:], reverse=True)
    assert found[-1] == 0.0
    with pytest.raises(UserError, match="SOLVER.WARMUP_ITERS 10 must be less than SOLVER.MAX_ITER 10"):
        rates(**linear, WARMUP_ITERS=10)
    # Detectron2's own schedules are as they were.
    found = rates(BASE_LR=1.0, MAX_ITER=6, WARMUP_ITERS=0, STEPS=(2, 4), LR_SCHEDULER_NAME="WarmupMultiStepLR")
    assert found[:6] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("clip_type, norm_type", [("value", 2.0), *(("norm", p) for p in (1.0, 2.0, 3.0, math.inf))])
def test_gradients_are_clipped_to_the_bits_of_detectron2s(toy_config, clip_type, norm_type):
    cfg = toy_config("toy_2_train_supernet")
    cfg.merge_from_list(["SOLVER.CLIP_GRADIENTS.CLIP_TYPE", clip_type, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.3])
    cfg.SOLVER.CLIP_GRADIENTS.NORM_TYPE = norm_type
    ours = build_model(cfg).to(memory_format=torch.channels_last)
    theirs = copy.deepcopy(ours)
    optimizers = build_optimizer(cfg, ours), detectron2.solver.build_optimizer(cfg, theirs)
    for seed in range(2):
        # Detectron2 fails at a parameter without a gradient that is to be clipped by value.
        before = [draw_gradients(model, seed, every=clip_type == "value") for model in (ours, theirs)][0]
        for optimizer in optimizers:
            optimizer.step()
        pairs = list(zip(ours.parameters(), theirs.parameters()))
        gradients = [(p.grad, q.grad) for p, q in pairs if p.grad is not None]
        assert all(q.grad is None for p, q in pairs if p.grad is None)
        # Bits, as NaN is not equal to NaN.
        assert all(torch.equal(bits(p), bits(q)) for p, q in (*pairs, *gradients))
        kept = [torch.equal(p, q) for (p, _), q in zip(gradients, before)]
        assert any(kept) and not all(kept)


def test_a_path_can_be_clipped_by_value_and_an_unknown_way_is_an_error(toy_config):
    cfg = toy_config("toy_2_train_supernet", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "value")
    model = torch.nn.Linear(2, 2)
    optimizer = build_optimizer(cfg, model)
    optimizer.step()
    model.bias.grad = torch.tensor([-30.0, 3.0])
    optimizer.step()
    assert model.weight.grad is None and model.bias.grad.tolist() == [-10.0, 3.0]
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "length"
    with pytest.raises(ValueError, match="length"):
        build_optimizer(cfg, model)


def test_gradients_are_not_clipped_unless_asked_for(toy_config):
    cfg = toy_config("toy_2_train_supernet", "SOLVER.CLIP_GRADIENTS.ENABLED", "False")
    model = build_model(cfg)
    before = draw_gradients(model, 0)
    build_optimizer(cfg, model).step()
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(p.nan_to_num(), q.nan_to_num()) for p, q in zip(after, before))
