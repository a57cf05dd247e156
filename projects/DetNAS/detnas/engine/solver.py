"""The learning rate over the iterations."""

from detectron2.solver import LRMultiplier, WarmupParamScheduler, build_lr_scheduler
from fvcore.common.param_scheduler import LinearParamScheduler


def build_schedule(cfg, optimizer):
    """
    Detectron2's schedules, and "LinearLR": from ``SOLVER.BASE_LR`` straight down to 0 at ``SOLVER.MAX_ITER``
    (paper), after the warm-up if there is one.
    """
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME != "LinearLR":
        return build_lr_scheduler(cfg, optimizer)
    schedule = LinearParamScheduler(1.0, 0.0)
    if solver.WARMUP_ITERS:
        schedule = WarmupParamScheduler(
            schedule, solver.WARMUP_FACTOR, solver.WARMUP_ITERS / solver.MAX_ITER, solver.WARMUP_METHOD
        )
    return LRMultiplier(optimizer, schedule, solver.MAX_ITER)
