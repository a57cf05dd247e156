"""One training for every step: classifier, supernet and detector are each a list of dicts -> dict of losses."""

import logging
import signal

from detectron2.engine import AMPTrainer, HookBase, SimpleTrainer, hooks
from detectron2.engine.defaults import default_writers
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler, build_optimizer
from detectron2.utils import comm
from torch.nn.parallel import DistributedDataParallel

from detnas.data.loader import TrainingData
from detnas.modeling.backbone import find_supernet
from detnas.modeling.weights import SafeCheckpointer, load_weights

from .evaluation import evaluate
from .sampling import SetPath, SetSeed, UniformSampler

logger = logging.getLogger(__name__)


def build_trainer(cfg, resume=False):
    """
    The trainer of a config, ready for ``trainer.train(trainer.start_iter, cfg.SOLVER.MAX_ITER)``.

    A supernet trains one path per iteration; the gradients of all other ops stay None, so neither momentum nor weight
    decay moves them. With ``resume``, the last checkpoint of ``OUTPUT_DIR`` is continued where there is one, with the
    paths, images and random numbers that an uninterrupted run would have; otherwise training starts from
    ``MODEL.WEIGHTS``.

    Raises:
        ValueError, FileNotFoundError: if weights do not match or are not there.
    """
    model = build_model(cfg)
    optimizer = build_optimizer(cfg, model)
    data = TrainingData(cfg)
    supernet = find_supernet(model)
    trainer_class = AMPTrainer if cfg.SOLVER.AMP.ENABLED else SimpleTrainer
    trainer = trainer_class(_distribute(model, supernet), data, optimizer)
    checkpointer = SafeCheckpointer(model, cfg.OUTPUT_DIR, trainer=trainer)
    resume = resume and checkpointer.has_checkpoint()
    # Before the writers below leave files in the output folder: weights that do not fit should leave none.
    if cfg.MODEL.WEIGHTS and not resume:
        load_weights(model, cfg.MODEL.WEIGHTS, new_heads=True)

    is_main = comm.is_main_process()
    trainer.register_hooks(
        [
            hooks.IterationTimer(),
            hooks.LRScheduler(optimizer, build_lr_scheduler(cfg, optimizer)),
            SetSeed(max(cfg.SEED, 0)),
            SetPath(model, UniformSampler(supernet.space, max(cfg.SEED, 0))) if supernet else None,
            hooks.PeriodicCheckpointer(checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD) if is_main else None,
            # A supernet's path means nothing before its batch norm is recalibrated: search_net.py evaluates those.
            hooks.EvalHook(cfg.TEST.EVAL_PERIOD, lambda: evaluate(cfg, model)) if supernet is None else None,
            hooks.PeriodicWriter(default_writers(cfg.OUTPUT_DIR, cfg.SOLVER.MAX_ITER)) if is_main else None,
            StopWhenAsked(checkpointer) if comm.get_world_size() == 1 else None,
        ]
    )
    if resume:
        checkpointer.load(checkpointer.get_checkpoint_file())
        trainer.start_iter = data.start_iter = trainer.iter + 1
    return trainer


def _distribute(model, supernet):
    if comm.get_world_size() == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[comm.get_local_rank()] if next(model.parameters()).is_cuda else None,
        broadcast_buffers=False,
        # The ops that a path leaves out get no gradient.
        find_unused_parameters=supernet is not None,
    )


class StopWhenAsked(HookBase):
    """On Ctrl-C or SIGTERM finish the iteration, save a checkpoint and leave; ``--resume`` goes on from there."""

    def __init__(self, checkpointer):
        self.checkpointer, self.signal = checkpointer, None

    def before_train(self):
        def note(number, frame):
            # The second time the user means it.
            signal.signal(number, self.handlers[number])
            self.signal = number

        self.handlers = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}

    def after_step(self):
        if self.signal is not None:
            self.checkpointer.save(f"model_{self.trainer.iter:07d}", iteration=self.trainer.iter)
            logger.warning(f"Stopped after iteration {self.trainer.iter}; --resume continues.")
            raise SystemExit(128 + self.signal)

    def after_train(self):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
