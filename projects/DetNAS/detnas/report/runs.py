"""What a training has left in its output folder: its settings and what it has measured."""

import os
from dataclasses import dataclass
from typing import List

from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager

from detnas.config.load import load_config
from detnas.data.mapper import is_classifier
from detnas.errors import UserError
from detnas.launch.earlier_steps import read_metrics
from detnas.zoo import SUPERNET


@dataclass(frozen=True)
class Run:
    """
    A training.

    Args:
        folder: its output folder.
        cfg: its config, as fitted to the machine.
        lines: of metrics.json, each iteration as it was trained last.
    """

    folder: str
    cfg: CfgNode
    lines: List[dict]

    @property
    def has_detnas(self):
        """Whether the backbone is one of this project, and no ResNet."""
        return "detnas" in self.cfg.MODEL.BACKBONE.NAME

    @property
    def is_supernet(self):
        return self.has_detnas and self.cfg.MODEL.DETNAS.ARCH == SUPERNET

    @property
    def is_classifier(self):
        return is_classifier(self.cfg)


def read_run(folder):
    """
    The training whose output folder this is.

    Raises:
        UserError: saying what the folder lacks.
    """
    config = os.path.join(folder, "config.yaml")
    if not PathManager.isfile(config):
        raise UserError(f"{folder} holds no config.yaml, which train_net.py leaves in its OUTPUT_DIR")
    return Run(folder, load_config(config), trained_last(read_metrics(folder)))


def trained_last(lines):
    """
    Lines of metrics.json without those of iterations that were trained again, by ``--resume`` from an earlier
    checkpoint or from the start.
    """
    kept, last = [], -1
    for line in lines:
        # An evaluation may stand before the last iterations that it followed; only trained ones tell of a new start.
        if "total_loss" in line:
            if line["iteration"] <= last:
                kept = [other for other in kept if other["iteration"] < line["iteration"]]
            last = line["iteration"]
        kept.append(line)
    return kept
