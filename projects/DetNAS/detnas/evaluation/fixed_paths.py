"""Evaluates fixed paths of a supernet during its training, and how stable their ranking is."""

import contextlib
import logging
import math
import random

import numpy as np
import torch
from detectron2.engine import hooks
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from tabulate import tabulate

from detnas.batch_norm.forward_to_last_norm import ForwardToLastNorm
from detnas.batch_norm.recalibration import build_recalibration_batches, recalibrate_bn
from detnas.config.load import candidate_space, image_settings, with_settings
from detnas.modeling.choices import activate

from .evaluators import drop_non_finite, evaluate, only_warnings
from .readiness import kendall_tau, read_evaluations

logger = logging.getLogger(__name__)

#: attempts to draw a new random path; a small space may have none left
_ATTEMPTS = 1000


def fixed_paths(space, seed, num_random):
    """Return name -> path, all different: "all_3x3" etc. for each op, "random_1" etc. by the seed, if they exist."""
    paths = {name.replace(" ", "_").lower(): path for name, path in space.anchors().items()}
    rng = random.Random(f"fixed paths {seed}")
    for number in range(1, num_random + 1):
        draws = (space.random(rng) for _ in range(_ATTEMPTS))
        path = next((path for path in draws if path not in paths.values()), None)
        if path is None:
            break
        paths[f"random_{number}"] = path
    return paths


class FixedPathsEvaluation:
    """
    Evaluates fixed paths of a supernet. A call returns {path name: results}. Under "supernet" it adds the mean of
    ``SEARCH.METRIC`` and, from the second call on, the agreement with the previous ranking (Kendall's tau-b). It
    restores the model, which may be in training mode, and the random state. The first call reads images to recalibrate.
    """

    def __init__(self, cfg, model):
        self.cfg, self.model, self.space = cfg, model, candidate_space(cfg)
        self.paths = fixed_paths(self.space, max(cfg.SEED, 0), cfg.SUPERNET.EVAL_RANDOM_PATHS)
        self.forward_to_last_norm, self.batches = ForwardToLastNorm(model), {}
        self.previous_scores = {}  # by the path's name
        sets = cfg.DATASETS.TEST  # a search takes one set; of several, the first counts
        metric = cfg.SEARCH.METRIC.removeprefix("-")
        self.metric = metric if len(sets) == 1 else f"{sets[0]}/{metric}"

    def __call__(self):
        results = {}
        quiet = only_warnings("detectron2", "fvcore", "detnas.evaluation.evaluators")
        with _restored_afterwards(self.model), quiet:
            for name, path in self.paths.items():
                cfg = with_settings(self.cfg, image_settings(self.space.settings(path)))
                if cfg.INPUT.MIN_SIZE_TEST not in self.batches:
                    self.batches[cfg.INPUT.MIN_SIZE_TEST] = build_recalibration_batches(cfg)
                activate(self.model, self.space, path)
                recalibrate_bn(self.forward_to_last_norm, self.batches[cfg.INPUT.MIN_SIZE_TEST], max(cfg.SEED, 0))
                results[name] = evaluate(cfg, self.model, cfg.SUPERNET.EVAL_IMAGES)
                figures = ", ".join(f"{key} {value:.2f}" for key, value in _figures(results[name]).items())
                logger.info(f"path {self.space.format(path)} ({name}): {figures}")
        return {**results, **self._summary(results)} if comm.is_main_process() else results

    def scores(self, flat):
        """Return {path name: score} from flat results such as "all_3x3/bbox/AP", where the score is finite."""
        found = {name: flat.get(f"{name}/{self.metric}") for name in self.paths}
        return {name: score for name, score in found.items() if score is not None and math.isfinite(score)}

    def _summary(self, results):
        scores, before = self.scores(flatten_results_dict(results)), self.previous_scores
        self.previous_scores = scores
        if not scores:
            logger.warning(f"Supernet: no path has a {self.metric} (SEARCH.METRIC), so there is no mean of them.")
            return {}
        mean = sum(scores.values()) / len(scores)
        words = f"Supernet: mean {self.metric} {mean:.2f} over {len(scores)} paths"
        both = [name for name in scores if name in before]
        tau = kendall_tau([before[name] for name in both], [scores[name] for name in both])
        if math.isnan(tau):
            logger.info(words)
            return {"supernet": {"mean": mean}}
        logger.info(f"{words}, rank agreement with the evaluation before {tau:.2f} (tau)")
        return {"supernet": {"mean": mean, "agreement": tau}}

    def table(self, results):
        """Return the main figures of a call's results as text, with a row for each path."""
        arch = self.space.format
        rows = [{"path": name, "arch": arch(path), **_figures(results[name])} for name, path in self.paths.items()]
        return tabulate(rows, headers="keys", floatfmt=".2f")


class FixedPathsEvalHook(hooks.EvalHook):
    """EvalHook for fixed paths. A resumed run goes on from ``metrics.json``, and makes up a missed evaluation."""

    def __init__(self, period, evaluation, folder):
        super().__init__(period, lambda: drop_non_finite(evaluation()))
        self.evaluation, self.folder = evaluation, folder

    def before_train(self):
        done = self.trainer.start_iter
        if not done:
            return
        earlier = [line for line in read_evaluations(self.folder) if line["iteration"] < done]
        self.evaluation.previous_scores = self.evaluation.scores(earlier[-1]) if earlier else {}
        is_due = self._period > 0 and done % self._period == 0 and done < self.trainer.max_iter
        is_missing = is_due and not (earlier and earlier[-1]["iteration"] == done - 1)
        if comm.all_gather(is_missing)[0]:  # the main process has the file
            self.trainer.storage.iter = done - 1
            self._do_eval()


@contextlib.contextmanager
def _restored_afterwards(model):
    """Restore path, buffers, modes and counters of the model, and the random state, after the block."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    numbers = [(module, _numbers(module)) for module in model.modules()]  # modes, choices, counters of modules
    device = next(model.parameters()).device
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
        for module, before in numbers:
            for name in _numbers(module).keys() - before.keys():
                delattr(module, name)
            vars(module).update(before)


def _numbers(module):
    return {name: value for name, value in vars(module).items() if isinstance(value, (int, float))}


def _figures(results):
    """Return the main figures of nested results, with flat names."""
    flat = flatten_results_dict(results)
    return {name: value for name, value in flat.items() if name.split("/")[-1] in ("AP", "AP50", "top1", "top5")}
