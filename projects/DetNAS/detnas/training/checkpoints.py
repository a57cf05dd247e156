"""Writes and finds the checkpoints that a training resumes from."""

import contextlib
import logging
import os
import re

import torch
from detectron2.checkpoint import DetectionCheckpointer

from detnas.errors import UserError
from detnas.files import fits, write_atomically, write_text
from detnas.modeling.weights import check_weights

#: names of checkpoints, and the form of their content
_NAME = r"model_(\d+|final)\.pth"
_FORM = {"model": {"": torch.Tensor}, "trainer": {"iteration": int, "optimizer": dict, "": object}, "": object}


class SafeCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer for resuming. It writes whole files or none, and runs no code when it reads one."""

    def save(self, name, **kwargs):
        if not self.save_dir or not self.save_to_disk:
            return
        parts = {key: part.state_dict() for key, part in {"model": self.model, **self.checkpointables}.items()}
        file = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info(f"Saving checkpoint to {file}")
        write_atomically(self.path_manager, file, lambda f: torch.save({**parts, **kwargs}, f))
        self.tag_last_checkpoint(f"{name}.pth")

    def tag_last_checkpoint(self, last_filename_basename):
        write_text(os.path.join(self.save_dir, "last_checkpoint"), last_filename_basename, self.path_manager)

    def find_intact(self):
        """The last checkpoint, else the newest undamaged one; "" before the first. UserError if all are damaged."""
        if not self.has_checkpoint():
            return ""
        last = self.get_checkpoint_file()
        if self._iteration(last) is not None:
            return last
        there = self.path_manager.ls(self.save_dir)
        files = [os.path.join(self.save_dir, name) for name in there if re.fullmatch(_NAME, name)]
        whole = {file: iteration for file in files if (iteration := self._iteration(file)) is not None}
        if not whole:
            raise UserError(f"{last} is damaged, and {self.save_dir} has no other checkpoint: train without --resume")
        newest = max(whole, key=whole.get)
        logging.getLogger(__name__).warning(f"{last} is damaged: going on from {newest}, the newest that is whole.")
        return newest

    def get_checkpoint_file(self):
        """The file that ``last_checkpoint`` names, or ``last_checkpoint`` itself if it is damaged."""
        tag = os.path.join(self.save_dir, "last_checkpoint")
        with contextlib.suppress(OSError, ValueError), self.path_manager.open(tag) as f:
            name = f.read().strip()
            # The name must not lead out of the folder.
            return os.path.join(self.save_dir, name) if re.fullmatch(_NAME, name) else tag
        return tag

    def resume(self, file):
        """Load a checkpoint of the same training. UserError if the network or the optimizer differs."""
        found = self._load_file(self.path_manager.get_local_path(file), mmap=True)
        check_weights(file, found["model"], self.model.state_dict())
        try:
            self.load(file)
            for parameter, state in self.checkpointables["trainer"].optimizer.state.items():
                if any(getattr(each, "shape", parameter.shape) != parameter.shape for each in state.values()):
                    raise ValueError("momentum of another shape")
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as e:
            raise UserError(f"{file} is of another training than this, or damaged ({type(e).__name__}: {e}): give "
                            "another OUTPUT_DIR, or train without --resume") from None

    def _iteration(self, file):
        """The iteration of a checkpoint; None if the file is damaged, or not of a training."""
        try:
            found = self._load_file(self.path_manager.get_local_path(file), mmap=True)
        except Exception:  # torch raises many kinds for broken files
            return None
        return found["trainer"]["iteration"] if fits(found, _FORM) and found["trainer"]["iteration"] >= 0 else None

    def _load_file(self, filename, mmap=False):
        return torch.load(filename, map_location="cpu", weights_only=True, mmap=mmap)
