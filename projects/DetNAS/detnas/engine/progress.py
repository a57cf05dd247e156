"""What a training says while it runs: one line every few iterations."""

import datetime
import logging

import torch
from detectron2.utils.events import EventWriter, get_event_storage

WINDOW = 20


class ProgressLine(EventWriter):
    """
    Logs iteration, path, losses (medians of the last 20), images per second, learning rate, time left and, where they
    say something, the share of time spent waiting for data and the memory of the GPU.

    Args:
        max_iter: iterations of the whole training.
        images: images per iteration, over all processes.
        supernet: of which the path is said; None if there is none.
    """

    def __init__(self, max_iter, images, supernet=None):
        self.max_iter, self.images, self.supernet = max_iter, images, supernet
        self.logger = logging.getLogger(__name__)

    def write(self):
        storage = get_event_storage()
        if storage.iter == self.max_iter:
            return
        histories = storage.histories()
        losses = {name: history.median(WINDOW) for name, history in histories.items() if "loss" in name}
        words = [f"iteration {storage.iter + 1}/{self.max_iter}"]
        if self.supernet is not None:
            words.append(f"path {self.supernet.space.format(self.supernet.path)}")
        parts = [f"{name.removeprefix('loss_')} {loss:.3g}" for name, loss in losses.items() if name != "total_loss"]
        words.append(f"loss {losses['total_loss']:.4g}" + (f" ({', '.join(parts)})" if len(parts) > 1 else ""))
        if "time" in histories:
            seconds = histories["time"].median(WINDOW)
            left = datetime.timedelta(seconds=round(seconds * (self.max_iter - storage.iter - 1)))
            words.append(f"{self.images / seconds:.1f} img/s  lr {histories['lr'].latest():.4g}  eta {left}")
            waiting = histories["data_time"].median(WINDOW) / seconds
            if waiting > 0.1:
                words.append(f"{waiting:.0%} of it waiting for data")
        if torch.cuda.is_available():
            words.append(f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
        self.logger.info("  ".join(words))
