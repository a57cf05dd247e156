"""The optimizer, and the learning rate over the iterations."""

import functools

import torch
from detectron2.solver import LRMultiplier, WarmupParamScheduler, build_lr_scheduler
from detectron2.solver import build_optimizer as build_unclipped_optimizer
from detectron2.solver.build import GradientClipType
from fvcore.common.param_scheduler import LinearParamScheduler

from detnas.config.load import with_settings
from detnas.errors import UserError


def build_optimizer(cfg, model):
    """Detectron2's optimizer. It clips gradients in one pass, also where ops outside the path have no gradient."""
    clip, unclipped = cfg.SOLVER.CLIP_GRADIENTS, with_settings(cfg, {"SOLVER.CLIP_GRADIENTS.ENABLED": False})
    optimizer = build_unclipped_optimizer(unclipped, model)
    for module in model.modules():
        if (factor := getattr(module, "lr_factor", 1.0)) != 1.0:
            scale_rates(optimizer, set(module.parameters()), factor)
    if clip.ENABLED:
        # Within step(), as in Detectron2: mixed precision skips both where gradients overflow.
        optimizer.register_step_pre_hook(functools.partial(_clip, GradientClipType(clip.CLIP_TYPE), clip))
    return optimizer


def scale_rates(optimizer, parameters, factor):
    """Multiply the learning rate of a set of the optimizer's parameters by a factor."""
    for group in list(optimizer.param_groups):
        apart = [p for p in group["params"] if p in parameters]
        if apart:
            group["params"] = [p for p in group["params"] if p not in parameters]
            optimizer.add_param_group({**group, "params": apart, "lr": group["lr"] * factor})
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]]


def _clip(clip_type, clip, optimizer, *_):
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if not parameters:
        return
    if clip_type is GradientClipType.VALUE:
        torch.nn.utils.clip_grad_value_(parameters, clip.CLIP_VALUE)
    else:
        clip_each_norm([p.grad for p in parameters], clip.CLIP_VALUE, clip.NORM_TYPE)


def clip_each_norm(grads, max_norm, norm_type):
    """``torch.nn.utils.clip_grad_norm_`` for each gradient alone; all must be on one device."""
    norms = torch.stack(torch._foreach_norm(grads, norm_type))
    # clip_grad_norm_ also takes the norm of each norm, which differs where the square overflows.
    norms = torch.linalg.vector_norm(norms[:, None], norm_type, dim=1)
    factors = (max_norm / (norms + 1e-6)).clamp(max=1.0).tolist()
    # Most factors are 1. NaN is applied, too: it tells of a broken gradient.
    long = [(grad, factor) for grad, factor in zip(grads, factors) if factor != 1]
    if long:
        torch._foreach_mul_(*map(list, zip(*long)))


def build_schedule(cfg, optimizer):
    """Detectron2's schedules, and "LinearLR" (paper): linearly to 0 at MAX_ITER, after any warm-up; else UserError."""
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME != "LinearLR":
        return build_lr_scheduler(cfg, optimizer)
    if solver.WARMUP_ITERS >= solver.MAX_ITER:
        raise UserError(f"SOLVER.WARMUP_ITERS {solver.WARMUP_ITERS} must be less than SOLVER.MAX_ITER "
                        f"{solver.MAX_ITER}: LinearLR falls to 0 there")
    warmup = solver.WARMUP_FACTOR, solver.WARMUP_ITERS / solver.MAX_ITER, solver.WARMUP_METHOD
    schedule = WarmupParamScheduler(LinearParamScheduler(1.0, 0.0), *warmup)
    return LRMultiplier(optimizer, schedule, solver.MAX_ITER)
