"""Stops a training early, and keeps what a resumed training needs."""

import logging
import os
import signal

from detectron2.engine import HookBase
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager

logger = logging.getLogger(__name__)


class StopOnSignal(HookBase):
    """On Ctrl-C or SIGTERM, finishes the iteration, saves a checkpoint for ``--resume`` and exits."""

    def __init__(self, checkpointer):
        self.checkpointer, self.signal = checkpointer, None

    def before_train(self):
        def note(number, frame):
            # A second signal ends the training at once.
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


class KeepLossNormalizer(HookBase):
    """Saves rank 0's loss normaliser of RetinaNet, a mean over iterations that Detectron2's checkpoints lack."""

    def __init__(self, model):
        self.model = model

    def state_dict(self):
        modules = self.model.named_modules()
        return {name: module.loss_normalizer for name, module in modules if hasattr(module, "loss_normalizer")}

    def load_state_dict(self, state):
        for name, value in state.items():
            self.model.get_submodule(name).loss_normalizer = value


def end_diverged(checkpointer, optimizer, path_sampling, losses):
    """Save ``model_diverged``, which ``--resume`` ignores, and raise a SystemExit that names the losses."""
    trainer, rate = checkpointer.checkpointables["trainer"], optimizer.param_groups[0]["lr"]
    if comm.is_main_process():
        last = checkpointer.has_checkpoint() and checkpointer.get_checkpoint_file()
        checkpointer.save("model_diverged", iteration=trainer.iter)
        if last:
            checkpointer.tag_last_checkpoint(os.path.basename(last))
        else:
            PathManager.rm(os.path.join(checkpointer.save_dir, "last_checkpoint"))
    path = f", path {path_sampling.text}" if path_sampling else ""
    raise SystemExit(
        f"error: a loss is not finite at iteration {trainer.iter}{path}, learning rate {rate:.4g}: "
        + ", ".join(f"{name} {loss:.4g}" for name, loss in losses.items())
        + f". Saved {os.path.join(checkpointer.save_dir, 'model_diverged.pth')}. "
        "Lower SOLVER.BASE_LR, lengthen SOLVER.WARMUP_ITERS or set SOLVER.CLIP_GRADIENTS.ENABLED; "
        "--resume goes on from the last checkpoint."
    )
