"""
Trains for a number of seconds on any machine: the learning rate falls with the time.

    python -m find_detector.timed file=CONFIG seconds=300 folder=FOLDER

The seconds include the start of the process and the evaluation at the end. After a kill, the same command goes on from
the last checkpoint. So does, once, a training with an infinite loss, at a lower learning rate.
"""

import argparse
import functools
import json
import math
import os
import time

from detnas import compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.data import MetadataCatalog
from detectron2.engine import HookBase
from detectron2.evaluation.testing import flatten_results_dict
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import elasticdet  # noqa: F401  it registers its keys
import pretrained  # noqa: F401  it registers its keys
from detnas.config.load import with_settings
from detnas.data.datasets import register_datasets
from detnas.evaluation.evaluators import build_test_loader, drop_non_finite, evaluate, only_warnings, read_test_images
from detnas.files import read_json, write_text
from detnas.launch.outputs import read_metrics
from detnas.launch.setup import save_config, setup
from detnas.training.trainer import build_trainer

from .drawing import write_sheet
from .race import STATE, STATE_FILE
from .steps import TOLD, call

#: fewest iterations of a process; iterations in which the learning rate rises
_LEAST_ITERATIONS, _WARMUP = 20, 50
#: checkpoints of a training; test images to estimate the seconds of an evaluation
_CHECKPOINTS, _TIMED_IMAGES = 20, 8
#: share of a race's time that evaluations take at most
_EVALUATING = 2 / 3
#: decay of the moving average, less at first; at high learning rates it is several AP better than the weights
_DECAY = 0.99
#: factor of the learning rate after a loss that was not finite
_LOWER = 0.25
#: images that are drawn, the first time after this share of the training
_DRAWN, _FIRST_DRAWN = 4, 1 / 5
#: MAX_ITER of a training that the clock ends
_ENDLESS = 10 ** 9


class _TimeIsUp(BaseException):
    """Ends a training; no Exception, since nothing went wrong."""


class Clock(HookBase):
    """
    Lets the learning rate fall with the time, as half a cosine, saves checkpoints, and ends the training.

    Args:
        seconds: of training before this process.
        until, whole: seconds of training at its end, and at learning rate 0.
        stops: seconds of training at which ``judge``, a :class:`Judge` or None, evaluates, which does not count.
        share: factor of the learning rate.
        draw: called at the first checkpoint after a fifth of the training, or None.
    """

    def __init__(self, seconds, until, whole, stops=(), judge=None, share=1.0, draw=None):
        self.seconds, self.until, self.whole, self.stops, self.judge = seconds, until, whole, list(stops), judge
        self.saved, self.steps, self.share, self.draw = seconds, 0, share, draw

    def before_train(self):
        self.checkpointer = next(hook.checkpointer for hook in self.trainer._hooks if hasattr(hook, "checkpointer"))
        self.last = time.perf_counter()

    def before_step(self):
        rate = (1 + math.cos(math.pi * min(1.0, self.seconds / self.whole))) / 2
        rate *= self.share * min(1.0, (self.trainer.iter + 1) / _WARMUP)
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate

    def after_step(self):
        now, trainer = time.perf_counter(), self.trainer
        self.seconds, self.last, self.steps = self.seconds + now - self.last, now, self.steps + 1
        trainer.storage.put_scalar("seconds", self.seconds, smoothing_hint=False)
        # The progress line computes the time left from it.
        trainer.max_iter = round((trainer.iter + 1) * max(1.0, self.until / self.seconds))
        ends = self.seconds >= self.until and self.steps >= _LEAST_ITERATIONS
        if ends or self.seconds - self.saved > self.whole / _CHECKPOINTS:
            self.checkpointer.save("model_final" if ends else f"model_{trainer.iter:07d}", iteration=trainer.iter)
            self.saved = self.seconds
            if self.draw and not ends and self.seconds > self.whole * _FIRST_DRAWN:
                self.draw, draw = None, self.draw
                draw()
                self.last = time.perf_counter()
        if self.judge:
            self.judge.average.update_parameters(trainer.model)
            # The last stop is the end of the training.
            while self.stops and (ends or len(self.stops) > 1 and self.seconds >= self.stops[0]):
                self.stops.pop(0)
                self.judge()
                self.last = time.perf_counter()
        if ends:
            raise _TimeIsUp


class Judge:
    """Evaluates a moving average of a training's weights, and appends its AP to ``found``."""

    def __init__(self, cfg, model, found):
        self.cfg, self.found = cfg, found
        self.average = AveragedModel(model, multi_avg_fn=self._add, use_buffers=True)

    def __call__(self):
        self.found.append(drop_non_finite(evaluate(self.cfg, self.average.module.eval()))["bbox"].get("AP", 0.0))

    @staticmethod
    def _add(averaged, current, count):
        get_ema_multi_avg_fn(min(_DECAY, float(1 + count) / float(10 + count)))(averaged, current, count)


def train(file: str, seconds: float, folder: str, whole: float = 0.0, done: float = 0.0, number: int = 0,
          drawn: str = "") -> None:
    """
    Train and evaluate, or go on after a kill.

    Args:
        seconds: of all that this process does.
        folder: of the training. Its STATE_FILE has "until" (seconds of training at the end of each round), "found" (AP
            of each evaluation), "image" (seconds of a test image), "iterations", and "share" (of the learning rate
            after a loss that was not finite).
        whole: seconds of training over which the learning rate falls; 0: until the end.
        done: seconds of training elsewhere, before this folder.
        number: round of a race, from 1: it evaluates a moving average of the weights, halfway and at the end. 0: no
            race; the network itself is evaluated at the end, if there are test images.
        drawn: data set to draw a few images of, after a fifth of the training and at the end.
    """
    # Until here the process only imports: its CPU time is about its time on the clock.
    started = time.monotonic() - time.process_time()
    words = ["OUTPUT_DIR", folder, "SOLVER.MAX_ITER", str(_ENDLESS), "SOLVER.CHECKPOINT_PERIOD", str(_ENDLESS)]
    tested = setup(argparse.Namespace(config_file=file, opts=words))
    state = read_json(os.path.join(folder, STATE_FILE), {"until": [], "found": []}, STATE)
    until, found, evaluations = state["until"], state["found"], 2 * number or len(tested.DATASETS.TEST)
    if len(found) >= evaluations if number else "iterations" in state:
        return
    cfg = with_settings(tested, {"DATASETS.TEST": ()})
    trainer = build_trainer(cfg, resume=True)
    save_config(cfg)
    if "image" not in state:
        state["image"] = image_seconds(tested, trainer.model) if evaluations else 0.0
    evaluating = state["image"] * sum(len(read_test_images(name)) for name in tested.DATASETS.TEST)
    evaluating *= evaluations - len(found)
    # Then it takes part with AP 0, after a few iterations.
    slow = number and evaluating > _EVALUATING * seconds
    if len(until) < max(1, number):
        left = seconds - evaluating - (time.monotonic() - started)
        until.append((until[-1] if until else done) + max(1.0, left))
        write_text(os.path.join(folder, STATE_FILE), json.dumps(state))
    lines = [line for line in read_metrics(folder) if "seconds" in line and line["iteration"] < trainer.start_iter]
    begun = lines[-1]["seconds"] if lines else done
    judge = Judge(tested, trainer.model, found) if number and not slow else None
    stops = [(until[-1] + sum(until[-2:-1])) / 2, until[-1]][len(found) - evaluations:]
    draw = functools.partial(draw_some, cfg, trainer.model, drawn) if drawn else None
    clock = Clock(begun, until[-1], whole or until[-1], stops, judge, state.get("share", 1.0), draw)
    trainer.register_hooks([clock])
    # Before the hook that prints the progress.
    trainer._hooks.insert(0, trainer._hooks.pop())
    try:
        trainer.train(trainer.start_iter, _ENDLESS)
    except _TimeIsUp:
        pass
    except SystemExit as e:
        # A number stands for a signal.
        if not isinstance(e.code, str):
            raise
        if "share" not in state:
            print(f"{TOLD}{e.code.partition('. Saved')[0]}: it goes on from the last checkpoint with a quarter of that",
                  flush=True)
            state["share"], until[-1] = _LOWER, max(clock.saved + 1.0, until[-1] - (clock.seconds - clock.saved))
            write_text(os.path.join(folder, STATE_FILE), json.dumps(state))
            return train(file, seconds, folder, whole, done, number, drawn)
        # Outside a race there is no other network to go on with.
        if not number:
            raise
        print(f"{TOLD}{file} is out of the race: {e.code}", flush=True)
        found += [-1.0] * (evaluations - len(found))
    if slow:
        print(f"{TOLD}{file} is not evaluated, which would take too long", flush=True)
        found += [0.0] * (evaluations - len(found))
    if evaluations and not number:
        results = flatten_results_dict(drop_non_finite(evaluate(tested, trainer.model.eval())))
        found.append(results.get("bbox/AP", 0.0))
        with open(os.path.join(folder, "metrics.json"), "a") as metrics:
            metrics.write(json.dumps({**results, "iteration": trainer.iter + 1}) + "\n")
    if drawn:
        state["image"] = draw_some(cfg, trainer.model, drawn)
    state["iterations"] = trainer.iter + 1
    write_text(os.path.join(folder, STATE_FILE), json.dumps(state))


def draw_some(cfg, model, name) -> float:
    """Draw what a network finds in a few images of a data set; returns the approximate seconds of one."""
    register_datasets([*cfg.DATASETS.TRAIN, name])
    few, file = with_settings(cfg, {"DATALOADER.NUM_WORKERS": 0}), os.path.join(cfg.OUTPUT_DIR, "sheet.png")
    images, begun = read_test_images(name, _DRAWN), time.perf_counter()
    with torch.no_grad():
        found = [model.eval()(batch)[0]["instances"].to("cpu") for batch in build_test_loader(few, images)]
    taken = (time.perf_counter() - begun) / len(images)
    model.train()
    write_sheet(list(zip(images, found)), MetadataCatalog.get(name), file)
    print(f"{TOLD}what it finds by now: {file}", flush=True)
    return taken


def image_seconds(cfg, model) -> float:
    """Approximate seconds of a test image: a longer evaluation less a shorter one."""
    few, times = with_settings(cfg, {"DATALOADER.NUM_WORKERS": 0}), []
    model.eval()
    # The first one is the warm-up.
    for images in (1, 1, 1 + _TIMED_IMAGES):
        begun = time.perf_counter()
        with only_warnings("detectron2", "detnas"):
            evaluate(few, model, images)
        times.append(time.perf_counter() - begun)
    model.train()
    return max(1e-3, (times[2] - times[1]) / _TIMED_IMAGES)


def main(words=None) -> None:
    call(train, words)


if __name__ == "__main__":
    main()
