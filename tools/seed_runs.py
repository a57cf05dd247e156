"""What serial_controls.py and compare_methods.py share: the command lines of a seed, the time of a step, results."""

import os
import tempfile
import time

import detnas  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import spnas  # isort: skip  # noqa: F401  it registers its networks and keys
import torch
from detectron2.engine import HookBase
from detectron2.modeling import build_model

from detnas.config.load import load_config
from detnas.evaluation.evaluators import evaluate, only_warnings
from detnas.launch.machine import fit_to_device
from detnas.launch.setup import register_datasets
from detnas.modeling.weights import load_weights
from detnas.training.trainer import build_trainer
from find_detector.steps import Steps, run_step

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_BLOOD = "$DETNAS_DATA/bccd_voc"
#: of the blood cells, images that nothing is trained on or chosen by
TEST_IMAGES = f"coco:{_BLOOD}/coco/annotations/instances_test.json:{_BLOOD}/VOCdevkit/VOC2007/JPEGImages"


class SeedRuns:
    """
    The command lines of one seed, with outputs in a folder of their own; each runs once, on one thread.

    Args:
        folder: for the outputs.
        seed: the ``SEED`` of all of them.
        run: see :class:`find_detector.steps.Steps`.
    """

    def __init__(self, folder, seed, run=run_step):
        self.folder, self.seed = folder, seed
        self.steps = Steps(folder, threads=1, run=run, root=ROOT, what="comparison")

    def run(self, name, script, config_file, *settings, flags=()):
        """Run ``train_net.py`` or ``search_net.py`` with settings over a config, into the folder ``name``."""
        words = ["--config-file", os.path.join(ROOT, config_file), "SEED", self.seed, "OUTPUT_DIR", self.path(name)]
        self.steps(f"{name} {self.seed}", os.path.join(ROOT, script), *flags, *map(str, [*words, *settings]))

    def path(self, *parts):
        return os.path.join(self.folder, *parts)


class _Clock(HookBase):
    def __init__(self):
        self.seconds = []

    def before_step(self):
        self.start = time.thread_time()

    def after_step(self):
        self.seconds.append(time.thread_time() - self.start)


def step_seconds(config_file, opts, steps=30):
    """CPU seconds of each of the first training steps of a config, on one thread. In the main thread alone."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, only_warnings("detectron2", "fvcore", "detnas"):
        opts = [*opts, "OUTPUT_DIR", folder, "SOLVER.MAX_ITER", str(steps), "DATASETS.TEST", "()"]
        cfg = load_config(os.path.join(ROOT, config_file), opts)
        register_datasets(cfg)
        fit_to_device(cfg)
        trainer, clock = build_trainer(cfg), _Clock()
        trainer.register_hooks([clock])
        trainer.train(0, steps)
    return clock.seconds


def box_results(config_file, opts, weights, images=None):
    """
    AP, AP50 and the like of trained weights.

    Args:
        opts: which network of the config it is.
        images: a data set; None: that of the config.
    """
    opts = [*opts, *(["DATASETS.TEST", f"('{images}',)"] if images else [])]
    cfg = load_config(os.path.join(ROOT, config_file), opts)
    register_datasets(cfg)
    fit_to_device(cfg)
    with only_warnings("detectron2", "fvcore", "detnas"):
        model = build_model(cfg).eval()
        load_weights(model, weights)
        return evaluate(cfg, model)["bbox"]
