"""Ends a training before its last iteration, and keeps what a resumed one needs."""

import logging
import os
import signal

from detectron2.engine import HookBase
from detectron2.utils.file_io import PathManager

from .progress import WINDOW

logger = logging.getLogger(__name__)


class StopOnSignal(HookBase):
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


class KeepSmoothedValues(HookBase):
    """
    Saves with each checkpoint what Detectron2 smooths over iterations and forgets when it is interrupted: RetinaNet's
    loss normaliser (that of the first process), without which the losses would differ, and the last values of
    everything logged, without which the medians in ``metrics.json`` would. Checkpoints have it under the class's name.
    """

    def __init__(self, model):
        self.modules = {name: m for name, m in model.named_modules() if "RetinaNet" in type(m).__name__}
        self.histories = {}

    def state_dict(self):
        storage = self.trainer.storage
        return {
            "normalizers": {
                name: module.loss_normalizer
                for name, module in self.modules.items()
                if hasattr(module, "loss_normalizer")
            },
            "histories": {
                name: [list(pair) for pair in history.values()[-WINDOW:]]
                for name, history in storage.histories().items()
                # Times are those of the process.
                if storage.smoothing_hints()[name] and "time" not in name
            },
        }

    def load_state_dict(self, state):
        for name, value in state["normalizers"].items():
            self.modules[name].loss_normalizer = value
        self.histories = state["histories"]

    def before_train(self):
        for name, history in self.histories.items():
            for value, iteration in history:
                self.trainer.storage.iter = iteration
                self.trainer.storage.put_scalar(name, value)


class DivergenceHandler:
    """
    Ends a training with one sentence if its loss is not finite. The network as it is before the update is saved for a
    closer look; ``--resume`` starts from the last checkpoint before it.
    """

    def __init__(self, checkpointer, optimizer, path_sampling=None):
        self.checkpointer, self.optimizer, self.path_sampling = checkpointer, optimizer, path_sampling

    def __call__(self, losses):
        trainer, rate = self.checkpointer.checkpointables["trainer"], self.optimizer.param_groups[0]["lr"]
        self._save(trainer.iter)
        path = f", path {self.path_sampling.text}" if self.path_sampling else ""
        raise SystemExit(
            f"error: a loss is not finite at iteration {trainer.iter}{path}, learning rate {rate:.4g}: "
            + ", ".join(f"{name} {loss:.4g}" for name, loss in losses.items())
            + f". Saved {os.path.join(self.checkpointer.save_dir, 'model_diverged.pth')}. "
            "Lower SOLVER.BASE_LR, lengthen SOLVER.WARMUP_ITERS or set SOLVER.CLIP_GRADIENTS.ENABLED; "
            "--resume goes on from the last checkpoint."
        )

    def _save(self, iteration):
        checkpointer = self.checkpointer
        last = checkpointer.has_checkpoint() and checkpointer.get_checkpoint_file()
        checkpointer.save("model_diverged", iteration=iteration)
        if last:
            checkpointer.tag_last_checkpoint(os.path.basename(last))
        elif checkpointer.has_checkpoint():
            PathManager.rm(os.path.join(checkpointer.save_dir, "last_checkpoint"))
