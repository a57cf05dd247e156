import pytest
import torch

from detnas.engine.setup import load_config
from detnas.engine.solver import build_schedule


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


def test_the_linear_schedule_falls_in_equal_steps_to_exactly_zero():
    found = rates(LR_SCHEDULER_NAME="LinearLR", BASE_LR=0.5, MAX_ITER=10, WARMUP_ITERS=0)
    assert found == pytest.approx([0.5 - 0.05 * i for i in range(11)])
    assert found[0] == 0.5 and found[-1] == 0.0


def test_the_linear_schedule_can_start_with_a_warm_up():
    found = rates(LR_SCHEDULER_NAME="LinearLR", BASE_LR=0.5, MAX_ITER=10, WARMUP_ITERS=4, WARMUP_FACTOR=0.1)
    assert found[0] == pytest.approx(0.05) and found == sorted(found[:5]) + sorted(found[5:], reverse=True)
    assert found[-1] == 0.0


def test_detectron2s_own_schedules_are_as_they_were():
    found = rates(BASE_LR=1.0, MAX_ITER=6, WARMUP_ITERS=0, STEPS=(2, 4), LR_SCHEDULER_NAME="WarmupMultiStepLR")
    assert found[:6] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
