"""The method "detnas": DetNAS's third step (paper, Sec. 3.2), the best path of a trained supernet."""

import functools
import json
import logging
import os

from detectron2.modeling import build_model
from detectron2.utils.file_io import PathManager

from detnas.config.keys import config_space
from detnas.config.load import apply_settings, load_config
from detnas.cost.limits import DETECTOR_LATENCY, without_latency
from detnas.data.mapper import is_classifier
from detnas.data.standard import TEST_SETS
from detnas.errors import UserError
from detnas.evaluation.evaluators import reported_metrics
from detnas.evaluation.readiness import readiness_warning
from detnas.files import absolute
from detnas.launch.earlier_steps import BEST_CONFIG, BEST_WEIGHTS, read_arch, trained_weights, weights_id
from detnas.modeling.weights import load_weights
from detnas.zoo import SUPERNET

from .evaluator import build_candidate_evaluator
from .front_winners import choose_winners, describe_winners, write_front_winners
from .log import SearchLog
from .method import Method
from .racing import build_race
from .searchers import DEFAULT, build_searcher
from .spaces import write_path_space
from .supernet_costs import supernet_limits
from .tables import first_cost, metrics_table, pareto_front
from .winner import write_best_config, write_best_weights

logger = logging.getLogger(__name__)

#: the word of SEARCH.INITIAL for the networks of a single op
UNIFORM_OPS = "uniform_ops"
#: settings without which two searches are the same one; the number of generations may grow
_SETTINGS = """METRIC CONSTRAINTS OBJECTIVES FLOPS_RESOLUTION DETECTOR_RESOLUTION POPULATION NUM_PARENTS NUM_MUTATE
    NUM_CROSS MUTATE_PROB ASYNCHRONOUS RECALIBRATION_IMAGES RECALIBRATION_BATCH""".split()
#: settings that change scores a little, and those of a race
_FASTER = ("CHANNELS_LAST", "AUTOCAST")
_RACE = ("RACING", "RACING_PARTS", "RACING_SHARE")
#: the head of best.yaml
_ABOUT_BEST = """\
# {metric} {score:.2f} in the search, with the supernet's weights.
# They are in {weights} when the search has ended; train_net.py --eval-only with this config then
# gives that figure again. Step 4 has its own config, with MODEL.DETNAS.ARCH THIS, and MODEL.WEIGHTS
# {weights} to go on from these weights, or the file of a pre-training, or none.
"""


class PathSearch(Method):
    """
    See :class:`Method`.

    Args:
        cfg: a supernet's config.
        args: the command line; ``--random-weights`` searches an untrained supernet.
    """

    writes_front = True

    def __init__(self, cfg, args):
        self.cfg, self.args = cfg, args
        self.limits, self.initial, self.searcher = _read_settings(cfg)
        self.space, self.costs = self.limits.space, self.limits.costs
        self.race = build_race(cfg)
        self.weights = supernet_weights(cfg, args)
        if self.weights and (warning := readiness_warning(self.weights)):
            logger.warning(warning)

    @classmethod
    def check_before_training(cls, cfg):
        if cfg.MODEL.DETNAS.ARCH != SUPERNET or is_classifier(cfg):
            return
        _read_settings(without_latency(cfg))

    def header(self):
        return path_header(self.cfg, self.limits, self.weights, self.initial)

    def evaluator(self):
        # A worker may have another working directory.
        return functools.partial(build_candidate_evaluator, self.cfg, absolute(self.weights))

    def check_evaluator(self):
        if self.weights:
            load_weights(build_model(self.cfg), self.weights)

    def on_best(self, candidate):
        """Write best.yaml: the config of the search with the candidate's arch, for whatever reads best.pth."""
        self._write_config(candidate, self.cfg.OUTPUT_DIR, "best")

    def _write_config(self, candidate, folder, name):
        cfg = load_config(self.args.config_file, self.args.opts)
        apply_settings(cfg, self.space.settings(candidate.path))
        about = _ABOUT_BEST.format(metric=cfg.SEARCH.METRIC, score=candidate.score, weights=f"{name}.pth")
        write_best_config(cfg, folder, about, name)

    def finish(self, log, evaluator):
        # Built once, and only where a file is missing.
        evaluator = functools.cache(evaluator)

        def state_of(path):
            return evaluator().inherit(path)

        if not write_best_weights(log, state_of):
            return []
        count, costs = self.cfg.SEARCH.FRONT_WINNERS, list(self.cfg.SEARCH.OBJECTIVES) or first_cost(log)
        winners = choose_winners(pareto_front(log, costs), costs, count)
        files = write_front_winners(log, winners, self._write_config, state_of) if winners else []
        lines = [*self._result(log), *describe_winners(winners, files, self.cfg.SEARCH.METRIC, costs)]
        for predictor in self.costs.parts_of(DETECTOR_LATENCY):
            lines += predictor.describe(dict.fromkeys(c.path for c in [log.best()[0], *winners]))
        return lines

    def _result(self, log):
        """Where the winner is, and what can be done with it."""
        cfg, best = self.cfg, log.best()[0]
        config, weights, picture = (os.path.join(cfg.OUTPUT_DIR, f) for f in (BEST_CONFIG, BEST_WEIGHTS, "search.png"))
        arch, metric = self.space.format(best.path), cfg.SEARCH.METRIC
        yield f"\nBest: {arch}, {metric} {best.score:.2f}, with the supernet's weights"
        yield f"Its config is {config}, its weights are {weights}; the search is drawn in {picture}"
        if not is_classifier(cfg):
            yield f"See what it finds:  demo/predict.py --config-file {config} --input IMAGES --output FOLDER"
        step_4 = f"MODEL.DETNAS.ARCH {config} MODEL.WEIGHTS {weights}"
        yield f"Train it (step 4):  train_net.py --config-file CONFIG {step_4}"

    @classmethod
    def evaluate(cls, cfg, args):
        space, cfg = config_space(cfg), cfg.clone()
        cfg.defrost()
        cfg.SEARCH.RACING = False
        if args.arch:
            logged, path = None, read_arch(args.arch, space, "--arch")
        else:
            log = SearchLog(cfg.OUTPUT_DIR, space)
            if not log.best():
                raise UserError(f"{log.path} holds no finished candidate yet")
            logged, path = log.best()[0].metrics, log.best()[0].path
        evaluator = build_candidate_evaluator(cfg, supernet_weights(cfg, args), recalibrate=not args.no_recalibration)
        metrics = evaluator(path)
        print(f"path {space.format(path)}, {cfg.DATASETS.TEST[0]}")
        print(metrics_table(metrics, logged))
        with PathManager.open(os.path.join(cfg.OUTPUT_DIR, "evaluation.json"), "w") as f:
            result = {"path": space.format(path), "recalibrated": not args.no_recalibration, "metrics": metrics}
            json.dump(result, f, indent=2)
        return metrics


def _read_settings(cfg):
    """Limits, first paths and searcher of a config; raises what is wrong with it."""
    check_metric(cfg)
    build_race(cfg)
    limits = supernet_limits(cfg)
    initial = initial_paths(cfg, limits)
    return limits, initial, build_searcher(cfg, limits, initial)


def supernet_weights(cfg, args):
    """The supernet's checkpoint, or None for random weights."""
    if not args.random_weights:
        return trained_weights(cfg, args.opts)
    logger.warning("--random-weights: the supernet is untrained; its scores say nothing about trained networks.")
    return None


def check_metric(cfg):
    """
    Also warns of a search on test images.

    Raises:
        UserError: if the held-out set has no ``SEARCH.METRIC``, before a candidate is evaluated.
    """
    for name in cfg.DATASETS.TEST:
        reported = reported_metrics(name)
        if cfg.SEARCH.METRIC not in reported:
            there = ", ".join(metric for metric in reported if "/AP-" not in metric)
            raise UserError(f'SEARCH.METRIC "{cfg.SEARCH.METRIC}" is not reported for {name}; there are: {there}')
        if name in TEST_SETS:
            logger.warning(
                f"This search chooses networks by {name}, whose figures are then worth nothing: hold training images "
                "out with tools/split_dataset.py"
            )


def initial_paths(cfg, limits):
    """
    What the first generation begins with, ``SEARCH.INITIAL``. What breaks a limit, or finds no place in a generation,
    is left out with a line in the log.

    Returns:
        dict: name -> path, no path twice; an arch is its own name.

    Raises:
        UserError: if one is no network of the space.
    """
    space, found = limits.space, {}
    for word in cfg.SEARCH.INITIAL:
        if not isinstance(word, str):
            raise UserError(f'SEARCH.INITIAL {word} is no text: put quotes around an arch, also with "-" in it')
        named = space.anchors() if word == UNIFORM_OPS else {word: read_arch(word, space, "SEARCH.INITIAL")}
        found.update({name: path for name, path in named.items() if path not in found.values()})
    legal = {name: path for name, path in found.items() if limits(path)}
    if len(legal) < len(found):
        names = ", ".join(name for name in found if name not in legal)
        logger.info(f"SEARCH.INITIAL: not within the limits, and left out: {names}")
    names = list(legal)
    taken, rest = names[: cfg.SEARCH.POPULATION], names[cfg.SEARCH.POPULATION :]
    if rest:
        logger.info(f"SEARCH.INITIAL: no place among SEARCH.POPULATION {len(taken)}, and left out: {', '.join(rest)}")
    return {name: legal[name] for name in taken}


def path_header(cfg, limits, weights, initial=None):
    """
    What makes two searches the same one.

    Args:
        cfg: a supernet's config.
        limits: a :class:`detnas.cost.limits.Limits`.
        weights: path of the supernet's checkpoint; None for random weights.
        initial: of :func:`initial_paths`.
    """
    return {
        **write_path_space(limits.space),
        "seed": cfg.SEED,
        "train": list(cfg.DATASETS.TRAIN),
        "held_out": list(cfg.DATASETS.TEST),
        "weights_sha256": weights_id(weights),
        **{key.lower(): cfg.SEARCH[key] for key in _SETTINGS},
        # Only where they are used, so that logs from before there was a choice can be continued.
        **{key.lower(): cfg.SEARCH[key] for key in _FASTER if cfg.SEARCH[key]},
        **({key.lower(): cfg.SEARCH[key] for key in _RACE} if cfg.SEARCH.RACING else {}),
        **({"searcher": cfg.SEARCH.SEARCHER} if cfg.SEARCH.SEARCHER != DEFAULT else {}),
        **({"initial": {name: limits.space.format(path) for name, path in initial.items()}} if initial else {}),
        **limits.costs.header(),
    }
