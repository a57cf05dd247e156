"""Builds the trainer of a classifier, supernet or detector; each maps a list of dicts to a dict of losses."""

import contextlib
import functools
import os

import torch
from detectron2.engine import hooks
from detectron2.utils import comm
from detectron2.utils.events import JSONWriter, TensorboardXWriter

from detnas.config.load import candidate_space
from detnas.data.loader import TrainingData
from detnas.errors import UserError
from detnas.evaluation.evaluators import drop_non_finite, evaluate
from detnas.evaluation.fixed_paths import FixedPathsEvalHook, FixedPathsEvaluation
from detnas.files import lock_folder
from detnas.modeling.builders import build_network
from detnas.modeling.choices import is_supernet
from detnas.modeling.weights import load_weights

from .checkpoints import SafeCheckpointer
from .hooks import KeepLossNormalizer, StopOnSignal, end_diverged
from .progress import ProgressLine
from .sampling import PathSampling, build_sampler, sampled_settings
from .solver import build_optimizer, build_schedule
from .speed import keep_memory
from .step import StepTrainer


def build_trainer(cfg, resume=False):
    """
    The trainer of a config, ready for ``trainer.train(trainer.start_iter, cfg.SOLVER.MAX_ITER)``.

    Ops of a supernet outside the trained path have no gradient, so momentum and weight decay do not move them. With
    ``resume``, the last checkpoint of ``OUTPUT_DIR``, if any, continues with the paths, images and random numbers of an
    uninterrupted run, and with the learning rate and weight decay of this config. Otherwise the training starts from
    ``MODEL.WEIGHTS``.
    """
    model = build_network(cfg)
    if cfg.MODEL.DEVICE == "cpu":
        keep_memory()
        # A step then takes three quarters of the time (benchmarks/step.py).
        model.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(cfg, model)
    sampler = build_sampler(cfg, candidate_space(cfg)) if is_supernet(model) else None
    path_sampling = PathSampling(model, sampler) if sampler else None
    data = TrainingData(cfg, functools.partial(sampled_settings, sampler) if sampler else None)
    checkpointer = SafeCheckpointer(model, cfg.OUTPUT_DIR)
    # Before the writers below create files: weights that do not fit leave none.
    checkpoint = resume and checkpointer.find_intact()
    if cfg.MODEL.WEIGHTS and not checkpoint:
        load_weights(model, cfg.MODEL.WEIGHTS, new_heads=True)
    elif not checkpoint:
        # Pre-trained backbones load their own weights.
        for module in model.modules():
            getattr(module, "load_start", lambda: None)()

    trainer = StepTrainer(
        model,
        data.batches,
        optimizer,
        accumulate=cfg.SOLVER.ACCUMULATE,
        amp=cfg.SOLVER.AMP.ENABLED,
        seed=max(cfg.SEED, 0),
        when_diverged=functools.partial(end_diverged, checkpointer, optimizer, path_sampling),
        **({"before_part": path_sampling} if path_sampling else {}),
    )
    checkpointer.add_checkpointable("trainer", trainer)
    schedule = build_schedule(cfg, optimizer)
    is_main = comm.is_main_process()
    metrics_file = f"{cfg.OUTPUT_DIR}/metrics.json"
    trainer.register_hooks(
        [
            hooks.IterationTimer(),
            hooks.LRScheduler(optimizer, schedule),
            # Before the slow hooks, whose time does not count.
            ProgressLine(cfg.SOLVER.IMS_PER_BATCH, path_sampling, cfg.MODEL.DEVICE == "cpu") if is_main else None,
            KeepLossNormalizer(model),
            hooks.PeriodicCheckpointer(checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD) if is_main else None,
            _evaluation(cfg, model) if cfg.DATASETS.TEST else None,
            hooks.PeriodicWriter([JSONWriter(metrics_file), TensorboardXWriter(cfg.OUTPUT_DIR)]) if is_main else None,
            StopOnSignal(checkpointer) if comm.get_world_size() == 1 else None,
        ]
    )
    if checkpoint:
        options = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        checkpointer.resume(checkpoint)
        # Those of this config, not of the checkpoint.
        schedule.base_lrs = [own["initial_lr"] for own in options]
        for group, own, rate in zip(optimizer.param_groups, options, schedule.get_lr()):
            group.update(own, lr=rate)
        trainer.start_iter = trainer.iter + 1
        # A kill between the last two checkpoints leaves no model_final.pth.
        if trainer.start_iter >= cfg.SOLVER.MAX_ITER and os.path.basename(checkpoint) != "model_final.pth":
            checkpointer.save("model_final", iteration=trainer.iter)
    return trainer


@contextlib.contextmanager
def lock_output_folder(folder):
    """Keep other trainings and searches out of a folder within the block. UserError on all ranks if one runs there."""
    lock = problem = None
    if comm.is_main_process():
        try:
            lock = lock_folder(folder, "training")
        except UserError as e:
            problem = str(e)
    problem = comm.all_gather(problem)[0]
    if problem:
        raise UserError(problem)
    try:
        yield
    finally:
        if lock:
            lock.close()


def _evaluation(cfg, model):
    if is_supernet(model):
        return FixedPathsEvalHook(cfg.TEST.EVAL_PERIOD, FixedPathsEvaluation(cfg, model), cfg.OUTPUT_DIR)
    return hooks.EvalHook(cfg.TEST.EVAL_PERIOD, lambda: drop_non_finite(evaluate(cfg, model)))
