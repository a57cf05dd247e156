"""Evaluates a fixed set of a supernet's paths while it is trained, and how stable their ranking is."""

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
from detnas.config.load import candidate_space, with_images
from detnas.modeling.choices import activate

from .evaluators import drop_non_finite, evaluate, only_warnings
from .readiness import kendall_tau, read_evaluations

logger = logging.getLogger(__name__)

#: draws for a random path that is not there yet; a small space may have no more
_ATTEMPTS = 1000


def fixed_paths(space, seed, num_random):
    """
    Name -> path: "all_3x3" and so on, one for each op, and "random_1", ... by the seed. No path comes twice; of a space
    with few paths there are fewer.
    """
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
    ``evaluation()`` gives {name of the path: results}, and under "supernet" the mean of ``SEARCH.METRIC`` over the
    paths and, from the second time on, the agreement of their ranking with that of the time before (Kendall's tau-b).
    It leaves no trace in the model or the random state. Recalibration images are read on the first call.

    Args:
        cfg: a supernet's config.
        model: with the supernet; may be in training.
    """

    def __init__(self, cfg, model):
        self.cfg, self.model, self.space = cfg, model, candidate_space(cfg)
        self.paths = fixed_paths(self.space, max(cfg.SEED, 0), cfg.SUPERNET.EVAL_RANDOM_PATHS)
        self.forward_to_last_norm, self.batches = ForwardToLastNorm(model), {}
        self.previous_scores = {}  # by the path's name
        # A search takes a single set; of several, the first one counts.
        sets = cfg.DATASETS.TEST
        metric = cfg.SEARCH.METRIC.removeprefix("-")
        self.metric = metric if len(sets) == 1 else f"{sets[0]}/{metric}"

    def __call__(self):
        results = {}
        quiet = only_warnings("detectron2", "fvcore", "detnas.evaluation.evaluators")
        with _restored_afterwards(self.model), quiet:
            for name, path in self.paths.items():
                cfg = with_images(self.cfg, self.space.settings(path))
                if cfg.INPUT.MIN_SIZE_TEST not in self.batches:
                    self.batches[cfg.INPUT.MIN_SIZE_TEST] = build_recalibration_batches(cfg)
                activate(self.model, self.space, path)
                recalibrate_bn(self.forward_to_last_norm, self.batches[cfg.INPUT.MIN_SIZE_TEST], max(cfg.SEED, 0))
                results[name] = evaluate(cfg, self.model, cfg.SUPERNET.EVAL_IMAGES)
                figures = ", ".join(f"{key} {value:.2f}" for key, value in _figures(results[name]).items())
                logger.info(f"path {self.space.format(path)} ({name}): {figures}")
        return {**results, **self._summary(results)} if comm.is_main_process() else results

    def scores(self, flat):
        """{name of the path: score} from flat results, "all_3x3/bbox/AP" and the like; without what has no value."""
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
        """The main figures that a call has given as text, a row for each path."""
        arch = self.space.format
        rows = [{"path": name, "arch": arch(path), **_figures(results[name])} for name, path in self.paths.items()]
        return tabulate(rows, headers="keys", floatfmt=".2f")


class FixedPathsEvalHook(hooks.EvalHook):
    """
    Detectron2's hook around a :class:`FixedPathsEvaluation`. A resumed training compares with the evaluation that an
    uninterrupted one would have made before, which ``metrics.json`` holds; if the training ended during that one, it is
    made first.
    """

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
        # The file is that of the main process.
        if comm.all_gather(is_missing)[0]:
            self.trainer.storage.iter = done - 1
            self._do_eval()


@contextlib.contextmanager
def _restored_afterwards(model):
    """Restore path, buffers, modes and counters of the model and the random state at the end of the block."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    # Modes, choices, and what modules count on the side, such as RetinaNet's loss_normalizer.
    numbers = [(module, _numbers(module)) for module in model.modules()]
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
    """The main figures of nested results, by flat names."""
    flat = flatten_results_dict(results)
    return {name: value for name, value in flat.items() if name.split("/")[-1] in ("AP", "AP50", "top1", "top5")}
