"""Shared by five studies: command lines of a seed, times of steps, results."""

import concurrent.futures
import functools
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import spnas  # isort: skip  # noqa: F401  it registers its keys
import torch
from detectron2.engine import HookBase
from detectron2.modeling import build_model
from shared import IN_ONE_PROCESS, ROOT

from detnas.config.load import load_config
from detnas.errors import UserError
from detnas.evaluation.evaluators import evaluate, only_warnings
from detnas.files import read_json, write_text
from detnas.launch.setup import fit_to_device, register_datasets
from detnas.modeling.weights import load_weights
from detnas.training.trainer import build_trainer
from find_detector.steps import Steps, run_step

_BLOOD = "$DETNAS_DATA/bccd_voc"
#: images of blood cells that nothing is trained on or chosen by
TEST_IMAGES = f"coco:{_BLOOD}/coco/annotations/instances_test.json:{_BLOOD}/VOCdevkit/VOC2007/JPEGImages"

#: trainings are evaluated afterwards, all alike
TRAINING = (*IN_ONE_PROCESS, "DATASETS.TEST", "()")
TRIES = 3
#: training steps until all images of blood cells are in memory, and steps that are then measured
FIRST, MEASURED = 30, 40


class SeedRuns:
    """One ``seed``'s command lines, each run once on one thread, into ``folder``; for ``run`` see ``Steps``."""

    def __init__(self, folder, seed, run=run_step):
        self.folder, self.seed = folder, seed
        self.steps = Steps(folder, threads=1, run=run, root=ROOT, what="comparison")

    def run(self, name, script, config_file, *settings, flags=()):
        """Run ``train_net.py`` or ``search_net.py`` with settings over a config; outputs go to the folder ``name``."""
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
    """CPU seconds of each of a config's first training steps, on one thread. Works only in the main thread."""
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
    """Box AP, AP50, ... of trained weights, on a data set ``images`` or, by default, the config's."""
    opts = [*opts, *(["DATASETS.TEST", f"('{images}',)"] if images else [])]
    cfg = load_config(os.path.join(ROOT, config_file), opts)
    register_datasets(cfg)
    fit_to_device(cfg)
    with only_warnings("detectron2", "fvcore", "detnas"):
        model = build_model(cfg).eval()
        load_weights(model, weights)
        return evaluate(cfg, model)["bbox"]


def iterations_for(seconds, start, step):
    """Iterations of ``step`` seconds that fill ``seconds`` after ``start`` seconds; UserError if none fits."""
    count = round((seconds - start) / step)
    if count < 1:
        raise UserError(f"{seconds:.0f} seconds are left for the last training, which starts in {start:.0f}: give "
                        "more --seconds")
    return count


def training_cost(config, opts):
    """(CPU seconds beside the steps, CPU seconds of a step) of a training. Run it in a new process."""
    steps = step_seconds(config, [*opts, *IN_ONE_PROCESS], FIRST + MEASURED)
    step = statistics.mean(steps[FIRST:])
    return time.process_time() - len(steps) * step, step


def measure(config, opts):
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(training_cost, config, opts).result()


class TimedRuns(SeedRuns):
    """
    Runs of one seed with their CPU seconds: user and system time of their processes, from start to end. A method or a
    control has ``total`` seconds in all. ``run`` runs a step, ``measure`` gives a training's cost.
    """

    def __init__(self, folder, seed, total, run=functools.partial(run_step, cpu=True), measure=measure):
        super().__init__(folder, seed, run)
        self.total, self.measure = total, measure
        self.file = self.path("iterations.json")
        self.plan = read_json(self.file, {})

    def run(self, name, script, config, *settings):
        if not self.seconds(name):
            # A killed step starts afresh, so that its seconds count everything.
            shutil.rmtree(self.path(name), ignore_errors=True)
        super().run(name, script, config, *settings)

    def seconds(self, *names):
        """CPU seconds of steps; 0 for steps not done yet."""
        return sum(self.steps.done.get(f"{name} {self.seed}", {"seconds": 0})["seconds"] for name in names)

    def train_for(self, name, spent, tolerance, config, *settings):
        """
        Train until the steps ``spent`` and this one take the total. Train again if time misses it by more than
        ``tolerance``, a share of the total. Only time decides; AP is never looked at. Returns the name of the step that
        came nearest; UserError if there is no time left.
        """
        before = self.seconds(*spent)
        plan = self.plan.get(name)
        if plan is None:
            start, step = self.measure(config, list(map(str, settings)))
            plan = {"start": start, "step": step, "iterations": [iterations_for(self.total - before, start, step)]}
            self._keep(name, plan)
        missed = {}
        for number in range(TRIES):
            label, count = f"{name}_{number + 1}", plan["iterations"][number]
            self.run(label, "train_net.py", config, *TRAINING, *settings, "SOLVER.MAX_ITER", count)
            missed[label] = abs(before + self.seconds(label) - self.total)
            if missed[label] <= tolerance * self.total or number + 1 == TRIES:
                break
            if number + 1 == len(plan["iterations"]):
                step = (self.seconds(label) - plan["start"]) / count
                plan["iterations"].append(iterations_for(self.total - before, plan["start"], step))
                self._keep(name, plan)
        return min(missed, key=missed.get)

    def _keep(self, name, plan):
        """Keep a plan, so that the iterations of a step are chosen once."""
        self.plan[name] = plan
        write_text(self.file, json.dumps(self.plan, indent=1))
