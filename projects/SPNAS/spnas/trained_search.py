"""Base of both SP-NAS searches: candidates are trained, and their weights kept."""

import functools
import json
import logging
import os
from typing import Tuple

from detectron2.utils.file_io import PathManager

from detnas.config.load import load_config, with_settings
from detnas.cost.limits import Limits, check_costs, without_latency
from detnas.errors import UserError
from detnas.files import absolute
from detnas.launch.outputs import BEST_CONFIG, BEST_WEIGHTS, weights_id
from detnas.modeling.weights import read_checkpoint
from detnas.search.log import SearchLog
from detnas.search.method import Method
from detnas.search.pareto import front_of
from detnas.search.settings import check_metric
from detnas.search.tables import metrics_table
from detnas.search.winner import write_best_config, write_best_weights

from .code import ParallelCode
from .costs import code_costs
from .evaluator import TrainedEvaluator
from .weights import CandidateWeights

logger = logging.getLogger(__name__)

#: settings that identify a search; the number of generations may grow
_SETTINGS = """METRIC CONSTRAINTS OBJECTIVES FLOPS_RESOLUTION DETECTOR_RESOLUTION CHILDREN CANDIDATE_ITERS
    ASYNCHRONOUS""".split()
_ABOUT_BEST = """\
# {metric} {score:.2f} in the search, with the weights that the search has trained.
# They are in {weights} when the search has ended; train_net.py --eval-only with this config then
# gives that figure again. For a full training, give another config MODEL.SPNAS.CODE "{code}".
"""


class TrainedSearch(Method):
    """
    See :class:`detnas.search.method.Method`. Subclasses have ``read_space(cfg)`` -> (space, start network), and
    ``build_searcher(cfg, space, limits, **settings)`` -> :class:`spnas.searcher.CodeSearcher`.
    """

    #: more settings like ``_SETTINGS``
    settings: Tuple[str, ...] = ()

    def __init__(self, cfg, args):
        if "://" in cfg.OUTPUT_DIR:
            raise UserError(
                f"OUTPUT_DIR {cfg.OUTPUT_DIR}: candidates are trained in it, so it must be a folder of this machine"
            )
        check_settings(cfg)
        # The config before it is fitted to this machine.
        self.written = self.complete(load_config(args.config_file, args.opts))
        self.cfg = cfg = self.complete(cfg).clone()
        cfg.defrost()
        # Iterations scale with the batch of one worker, by Detectron2's rule for SOLVER.
        factor = self.written.SOLVER.IMS_PER_BATCH / cfg.SOLVER.IMS_PER_BATCH
        if factor != 1:
            cfg.SEARCH.CANDIDATE_ITERS = iterations = round(cfg.SEARCH.CANDIDATE_ITERS * factor)
            logger.info(f"A worker takes batches of {cfg.SOLVER.IMS_PER_BATCH}: {iterations} iterations.")
        self.space, self.limits, self.searcher = self.read(cfg)
        self.costs = self.limits.costs
        self.weights_id = weights_id(cfg.MODEL.WEIGHTS)
        if cfg.MODEL.WEIGHTS:
            read_checkpoint(cfg.MODEL.WEIGHTS)  # torn weights would fail every candidate
        self.weights = CandidateWeights(cfg.OUTPUT_DIR)
        self.weights.claim(self.header())

    @classmethod
    def check_before_training(cls, cfg):
        # No search starts with copies of stages, but train_net.py may train them with this config.
        if not any(ParallelCode.parse(cfg.MODEL.SPNAS.CODE).counts):
            check_settings(cfg)
            cls.read(without_latency(cfg))

    @staticmethod
    def complete(cfg):
        """The config with settings from elsewhere; here there are none."""
        return cfg

    @classmethod
    def read(cls, cfg):
        """(space, limits, searcher) of a config; UserError if something in it is wrong."""
        space, start = cls.read_space(cfg)
        search = cfg.SEARCH
        limits = Limits(space, search.CONSTRAINTS, code_costs(cfg, space), start)
        check_costs(search.OBJECTIVES, limits.costs, "SEARCH.OBJECTIVES")
        common = {"start": start, "children": search.CHILDREN, "seed": max(cfg.SEED, 0)}
        return space, limits, cls.build_searcher(cfg, space, limits, **common)

    def header(self):
        cfg = self.cfg
        return {
            **self.space.header(),
            "start": cfg.MODEL.SPNAS.CODE,
            "stem": cfg.MODEL.SPNAS.STEM,
            "shortcut": cfg.MODEL.SPNAS.SHORTCUT,
            "seed": cfg.SEED,
            "train": list(cfg.DATASETS.TRAIN),
            "held_out": list(cfg.DATASETS.TEST),
            "weights_sha256": self.weights_id,
            "learning_rate": cfg.SOLVER.BASE_LR,
            "images_per_batch": cfg.SOLVER.IMS_PER_BATCH,
            **{key.lower(): cfg.SEARCH[key] for key in (*_SETTINGS, *self.settings)},
            **self.costs.header(),
        }

    def evaluator(self):
        cfg = self.cfg.clone()
        # A worker may have another working directory.
        cfg.OUTPUT_DIR, cfg.MODEL.WEIGHTS = absolute(cfg.OUTPUT_DIR), absolute(cfg.MODEL.WEIGHTS)
        return functools.partial(TrainedEvaluator, cfg)

    def on_best(self, candidate):
        cfg = with_settings(self.written, self.space.settings(candidate.network))
        about = {"metric": cfg.SEARCH.METRIC, "score": candidate.score, "weights": BEST_WEIGHTS}
        write_best_config(cfg, self.cfg.OUTPUT_DIR, _ABOUT_BEST.format(code=cfg.MODEL.SPNAS.CODE, **about))

    def kept(self, scored):
        """The scored candidates whose weights are kept: here the front."""
        return front_of(scored, tuple(self.cfg.SEARCH.OBJECTIVES))

    def on_candidate(self, log, needed):
        """Remove weights that are no longer needed."""
        kept = self.kept([c for c in log.history() if c.score is not None])
        self.weights.keep({c.network for c in kept + log.best()}.union(needed()))

    def finish(self, log, evaluator):
        return self._result(log) if write_best_weights(log, self.weights.read) else []

    def _result(self, log):
        """Yield lines for the user: where the winner is, and how to use it."""
        cfg, best = self.cfg, log.best()[0]
        config, weights, picture = (os.path.join(cfg.OUTPUT_DIR, f) for f in (BEST_CONFIG, BEST_WEIGHTS, "search.png"))
        code = self.space.format(best.network)
        scores = {c.network: f"{c.score:.2f}" for c in log.best(None)}
        start = f"the start network, {self.searcher.start}, had {scores.get(self.searcher.start, 'no score')}"
        yield f"\nBest: {code}, {cfg.SEARCH.METRIC} {best.score:.2f}; {start}"
        yield f"Its config is {config}, its weights are {weights}; the search is drawn in {picture}"
        yield f"See what it finds:  demo/predict.py --config-file {config} --input IMAGES --output FOLDER"
        yield f"Train it in full:   train_net.py --config-file CONFIG MODEL.SPNAS.CODE {code} MODEL.WEIGHTS {weights}"

    @classmethod
    def evaluate(cls, cfg, args):
        cfg = cls.complete(cfg)
        space, _ = cls.read_space(cfg)
        log = SearchLog(cfg.OUTPUT_DIR, space)
        code = space.parse(args.arch) if args.arch else None
        found = [c for c in log.best(None) if code in (None, c.network)]
        if not found:
            raise UserError(f"{log.path} holds no {f'score of {code}' if code else 'finished candidate yet'}")
        code, weights = found[0].network, CandidateWeights(cfg.OUTPUT_DIR)
        if not PathManager.isfile(weights.file(code)):
            raise UserError(
                f"{weights.file(code)} does not exist: weights are kept of the best and of the front alone; "
                "train_net.py trains any code"
            )
        metrics = TrainedEvaluator(cfg).evaluate_again(code)
        print(f"code {code}, {cfg.DATASETS.TEST[0]}")
        print(metrics_table(metrics, found[0].metrics))
        with PathManager.open(os.path.join(cfg.OUTPUT_DIR, "evaluation.json"), "w") as f:
            json.dump({"network": str(code), "metrics": metrics}, f, indent=2)
        return metrics


def check_settings(cfg):
    """UserError if the held-out images lack ``SEARCH.METRIC``, or new blocks could never learn."""
    check_metric(cfg)
    if cfg.MODEL.SPNAS.NORM == "FrozenBN":
        raise UserError(
            "MODEL.SPNAS.NORM FrozenBN: a new block, whose last norm has weight 0, would never learn; use SyncBN or GN"
        )
