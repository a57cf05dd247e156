"""The method "detnas": finds the best path of a trained supernet (paper, Sec. 3.2, step 3)."""

import functools
import json
import logging
import os

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from detectron2.utils.file_io import PathManager

from detnas.config.load import candidate_space, load_config, with_settings
from detnas.cost.limits import DETECTOR_LATENCY, without_latency
from detnas.data.mapper import is_classifier
from detnas.errors import UserError
from detnas.evaluation.readiness import readiness_warning
from detnas.files import absolute
from detnas.launch.outputs import BEST_CONFIG, BEST_WEIGHTS, network_weights, read_arch, weights_id
from detnas.modeling.builders import build_network
from detnas.modeling.weights import load_weights
from detnas.space import write_space
from detnas.zoo import SUPERNET

from .evaluator import CandidateEvaluator
from .log import SearchLog
from .method import Method
from .racing import build_race
from .settings import read_settings, supernet_costs
from .tables import first_cost, metrics_table, pareto_front
from .winner import choose_winners, describe_winners, write_best_config, write_best_weights, write_front_winners

logger = logging.getLogger(__name__)

#: settings that a continued search must share; the number of generations may grow
_SETTINGS = """METRIC CONSTRAINTS OBJECTIVES FLOPS_RESOLUTION DETECTOR_RESOLUTION SEARCHER POPULATION NUM_PARENTS
    NUM_MUTATE NUM_CROSS MUTATE_PROB ASYNCHRONOUS RECALIBRATION_IMAGES RECALIBRATION_BATCH RACING RACING_PARTS
    RACING_SHARE CHANNELS_LAST AUTOCAST""".split()
#: the head of best.yaml
ABOUT_BEST = """\
# {metric} {score:.2f} in the search, with {whose} weights.
# They are in {weights} when the search has ended; train_net.py --eval-only with this config then
# gives that figure again.
"""
_STEP_4 = """\
# Step 4 has its own config, with MODEL.DETNAS.ARCH THIS, and MODEL.WEIGHTS {weights} to go on from
# these weights, or the file of a pre-training, or none.
"""


class PathSearch(Method):
    """Searches the paths of a supernet, which is untrained with ``--random-weights``."""

    writes_front = True
    #: (cfg, space) -> costs
    build_costs = staticmethod(supernet_costs)
    evaluator_class = CandidateEvaluator
    #: the head of a winner's config, and whose weights it has
    about, whose = ABOUT_BEST + _STEP_4, "the supernet's"

    def __init__(self, cfg, args):
        self.cfg, self.args = cfg, args
        self.limits, self.initial, self.searcher = read_settings(cfg, self.build_costs)
        self.space, self.costs = self.limits.space, self.limits.costs
        self.race = build_race(cfg)
        self.weights = supernet_weights(cfg, args)
        if self.weights:
            self.check_weights()

    def check_weights(self):
        """Warn if the supernet's ranking of paths had not settled, or if that was not measured."""
        if warning := readiness_warning(self.weights):
            logger.warning(warning)

    @classmethod
    def check_before_training(cls, cfg):
        if "detnas" in cfg.MODEL.BACKBONE.NAME and cfg.MODEL.DETNAS.ARCH == SUPERNET and not is_classifier(cfg):
            read_settings(without_latency(cfg))

    def header(self):
        cfg, search = self.cfg, self.cfg.SEARCH
        return {
            **self.space_header(),
            "seed": cfg.SEED,
            "train": list(cfg.DATASETS.TRAIN),
            "held_out": list(cfg.DATASETS.TEST),
            "weights_sha256": weights_id(self.weights),
            **{key.lower(): search[key] for key in _SETTINGS},
            "initial": {name: self.space.format(path) for name, path in self.initial.items()},
            **self.costs.header(),
        }

    def space_header(self):
        return write_space(self.space)

    def evaluator(self):
        return functools.partial(self.evaluator_class, self.cfg, absolute(self.weights))  # workers may run elsewhere

    def check_evaluator(self):
        if self.weights:
            load_weights(build_network(self.cfg), self.weights)

    def on_best(self, candidate):
        """Write best.yaml: the config of the search with the candidate's settings, for best.pth."""
        self._write_config(candidate, self.cfg.OUTPUT_DIR, "best")

    def _write_config(self, candidate, folder, name):
        cfg = with_settings(load_config(self.args.config_file, self.args.opts), self.space.settings(candidate.network))
        values = {"metric": cfg.SEARCH.METRIC, "score": candidate.score, "weights": f"{name}.pth", "whose": self.whose}
        write_best_config(cfg, folder, self.about.format(**values), name)

    def finish(self, log, evaluator):
        evaluator = functools.cache(evaluator)  # built once, and only if a file is missing

        def state_of(path):
            return evaluator().inherit(path)

        if not write_best_weights(log, state_of):
            return []
        count, costs = self.cfg.SEARCH.FRONT_WINNERS, list(self.cfg.SEARCH.OBJECTIVES) or first_cost(log)
        winners = choose_winners(pareto_front(log, costs), costs, count)
        files = write_front_winners(log, winners, self._write_config, state_of) if winners else []
        lines = [*self._result(log), *describe_winners(winners, files, self.cfg.SEARCH.METRIC, costs)]
        for predictor in (part for part in self.costs.parts if DETECTOR_LATENCY in part.metrics):
            lines += predictor.describe(dict.fromkeys(c.network for c in [log.best()[0], *winners]))
        return lines

    def _result(self, log):
        """Lines for the user: where the winner is, and what to do with it."""
        cfg, best = self.cfg, log.best()[0]
        config, weights, picture = (os.path.join(cfg.OUTPUT_DIR, f) for f in (BEST_CONFIG, BEST_WEIGHTS, "search.png"))
        arch, metric = self.space.format(best.network), cfg.SEARCH.METRIC
        yield f"\nBest: {arch}, {metric} {best.score:.2f}, with {self.whose} weights"
        yield f"Its config is {config}, its weights are {weights}; the search is drawn in {picture}"
        if not is_classifier(cfg):
            yield f"See what it finds:  demo/predict.py --config-file {config} --input IMAGES --output FOLDER"
        if self.about is not ABOUT_BEST:
            step_4 = f"MODEL.DETNAS.ARCH {config} MODEL.WEIGHTS {weights}"
            yield f"Train it (step 4):  train_net.py --config-file CONFIG {step_4}"

    @classmethod
    def pick(cls, cfg, args):
        method = cls(cfg, args)
        log = SearchLog(cfg.OUTPUT_DIR, method.space)
        winner, evaluator = log.pick(args.pick), method.evaluator()
        if log.header.get("weights_sha256") != weights_id(method.weights):
            raise UserError(f"MODEL.WEIGHTS {method.weights}: {log.path} is a search of other weights")
        files = write_front_winners(log, [winner], method._write_config, lambda path: evaluator().inherit(path))
        costs = list(cfg.SEARCH.OBJECTIVES) or first_cost(log)
        for line in describe_winners([winner], files, cfg.SEARCH.METRIC, costs):
            print(line)
        return winner

    @classmethod
    def evaluate(cls, cfg, args):
        space, cfg = candidate_space(cfg), with_settings(cfg, {"SEARCH.RACING": False})
        if args.arch:
            logged, path = None, read_arch(args.arch, space, "--arch")
        else:
            best = SearchLog(cfg.OUTPUT_DIR, space).pick("best")
            logged, path = best.metrics, best.network
        evaluator = cls.evaluator_class(cfg, supernet_weights(cfg, args), recalibrate=not args.no_recalibration)
        metrics = evaluator(path)
        print(f"path {space.format(path)}, {cfg.DATASETS.TEST[0]}")
        print(metrics_table(metrics, logged))
        with PathManager.open(os.path.join(cfg.OUTPUT_DIR, "evaluation.json"), "w") as f:
            result = {"network": space.format(path), "recalibrated": not args.no_recalibration, "metrics": metrics}
            json.dump(result, f, indent=2)
        return metrics


def supernet_weights(cfg, args):
    """The supernet's checkpoint; None for random weights."""
    if not args.random_weights:
        return network_weights(args.config_file, cfg, args.opts)
    logger.warning("--random-weights: the supernet is untrained; its scores say nothing about trained networks.")
    return None
