"""The line about its progress that a training logs every few iterations."""

import datetime
import logging
import time

import torch
from detectron2.engine import HookBase

#: iterations of a median
WINDOW = 20
#: a line comes every so many iterations, and at least every so many seconds
ITERATIONS, SECONDS = 20, 30
#: seconds of a step on a CPU above which the log says how to shorten it
SLOW_STEP = 5

logger = logging.getLogger(__name__)


class ProgressLine(HookBase):
    """
    Logs path, losses and speed (medians of 20 iterations), learning rate, time left and memory of the GPU: after the
    first and the last iteration, every 20 iterations, and at least every 30 seconds.

    Args:
        images: per iteration, over all processes.
        on_cpu: whether to say once how to shorten a slow step.
    """

    def __init__(self, images, path_sampling=None, on_cpu=False):
        self.images, self.path_sampling, self.on_cpu = images, path_sampling, on_cpu
        self.said = self.began = 0.0

    def before_step(self):
        self.began = time.perf_counter()

    def after_step(self):
        trainer, now = self.trainer, time.perf_counter()
        data_time = trainer.storage.histories()["data_time"].latest()
        if self.on_cpu and now - self.began - data_time > SLOW_STEP:
            self.on_cpu = False
            logger.info(
                f"A step takes {now - self.began - data_time:.0f} s on this CPU; smaller "
                "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE, MODEL.ROI_BOX_HEAD.CONV_DIM, MODEL.FPN.OUT_CHANNELS, or "
                "MODEL.DETNAS.SPACE tiny, make it shorter (docs/training.md)"
            )
        number = trainer.iter + 1
        ends = number in (trainer.start_iter + 1, trainer.max_iter) or number % ITERATIONS == 0
        if ends or now - self.said >= SECONDS:
            self.said = now
            logger.info(self._line(trainer.storage, number))

    def _line(self, storage, number):
        histories, total = storage.histories(), self.trainer.max_iter
        losses = {name: history.median(WINDOW) for name, history in histories.items() if "loss" in name}
        words = [f"iteration {number}/{total}"]
        if self.path_sampling is not None:
            words.append(f"path {self.path_sampling.text}")
        parts = [f"{name.removeprefix('loss_')} {loss:.3g}" for name, loss in losses.items() if name != "total_loss"]
        words.append(f"loss {losses['total_loss']:.4g}" + (f" ({', '.join(parts)})" if len(parts) > 1 else ""))
        if "time" in histories:
            seconds = histories["time"].median(WINDOW)
            left = datetime.timedelta(seconds=round(seconds * (total - number)))
            words.append(f"{self.images / seconds:.1f} img/s  lr {histories['lr'].latest():.4g}  eta {left}")
            waiting = histories["data_time"].median(WINDOW) / seconds
            if waiting > 0.1:
                words.append(f"{waiting:.0%} of it waiting for data")
        if torch.cuda.is_available():
            words.append(f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
        return "  ".join(words)
