"""The method "serial": SP-NAS's first phase (Jiang et al., CVPR 2020), a serial network that grows by morphs."""

import functools
import json
import logging
import os
import time

from detectron2.utils.file_io import PathManager

from detnas.config.load import load_config
from detnas.cost.limits import without_latency
from detnas.files import absolute
from detnas.launch.earlier_steps import BEST_CONFIG, BEST_WEIGHTS
from detnas.search.inherit import weights_id
from detnas.search.log import SearchLog
from detnas.search.method import Method
from detnas.search.pareto import front_of
from detnas.search.paths import check_metric
from detnas.search.tables import metrics_table
from detnas.search.winner import write_best_config, write_best_weights

from .code import SerialCode
from .evaluator import SerialEvaluator, build_serial_evaluator
from .limits import SerialLimits
from .reignite import classifier_config, reignite, remove_reignition
from .searcher import MorphSearcher
from .space import SerialSpace, write_serial_space
from .weights import CandidateWeights

logger = logging.getLogger(__name__)

#: settings without which two searches are the same one; the number of generations may grow
_SETTINGS = """METRIC CONSTRAINTS OBJECTIVES FLOPS_RESOLUTION DETECTOR_RESOLUTION CHILDREN CANDIDATE_ITERS STUCK
    SELECT REIGNITIONS REIGNITION_CONFIG ASYNCHRONOUS EVALUATE_INHERITED""".split()
_ABOUT_BEST = """\
# {metric} {score:.2f} in the search, with the weights that the search has trained.
# They are in {weights} when the search has ended; train_net.py --eval-only with this config then
# gives that figure again. For a full training, give another config MODEL.SPNAS.CODE "{code}".
"""


class SerialSearch(Method):
    """
    See :class:`detnas.search.method.Method`.

    Args:
        cfg: the config that trains the start network, ``MODEL.SPNAS.CODE``.
        args: the command line.
    """

    def __init__(self, cfg, args):
        check_local(cfg.OUTPUT_DIR)
        check_metric(cfg)
        check_norm(cfg)
        cfg = scale_iterations(cfg, load_config(args.config_file, args.opts))
        self.cfg, self.args, self.space = cfg, args, serial_space(cfg)
        self.limits = SerialLimits(cfg)
        self.costs = self.limits.costs
        self.searcher = build_searcher(cfg, self.space, self.limits)
        if self.searcher.reignitions:
            classifier_config(cfg, self.searcher.start)
        self.weights_id = weights_id(cfg.MODEL.WEIGHTS)
        self.weights = CandidateWeights(cfg.OUTPUT_DIR)
        self.weights.claim(self.header())

    @classmethod
    def check_before_training(cls, cfg):
        check_metric(cfg)
        check_norm(cfg)
        cfg = without_latency(cfg)
        build_searcher(cfg, serial_space(cfg), SerialLimits(cfg))

    def header(self):
        cfg = self.cfg
        return {
            **write_serial_space(self.space),
            "start": cfg.MODEL.SPNAS.CODE,
            "stem": cfg.MODEL.SPNAS.STEM,
            "shortcut": cfg.MODEL.SPNAS.SHORTCUT,
            "seed": cfg.SEED,
            "train": list(cfg.DATASETS.TRAIN),
            "held_out": list(cfg.DATASETS.TEST),
            "weights_sha256": self.weights_id,
            "morphs": {name.lower(): weight for name, weight in cfg.SEARCH.MORPHS.items()},
            "learning_rate": cfg.SOLVER.BASE_LR,
            "images_per_batch": cfg.SOLVER.IMS_PER_BATCH,
            **{key.lower(): cfg.SEARCH[key] for key in _SETTINGS},
            **({"latency": self.limits.meter.settings} if self.limits.meter else {}),
        }

    def evaluator(self):
        cfg = self.cfg.clone()
        cfg.defrost()
        # A worker may have another working directory.
        cfg.OUTPUT_DIR, cfg.MODEL.WEIGHTS = absolute(cfg.OUTPUT_DIR), absolute(cfg.MODEL.WEIGHTS)
        return functools.partial(build_serial_evaluator, cfg)

    def before_generation(self, log, generation):
        earlier = [c for c in log.history() if c.generation < generation]
        rounds = self.searcher.reignited(earlier)
        code = rounds.get(generation)
        if code is None:
            return
        number = list(rounds).index(generation) + 1
        if not any(event["generation"] == generation for event in log.events()):
            start = time.perf_counter()
            results = reignite(self.cfg, code, number)
            seconds = round(time.perf_counter() - start, 3)
            event = {"event": "reignition", "generation": generation, "path": self.space.format(code)}
            log.append_event({**event, "metrics": results, "seconds": seconds})
        remove_reignition(self.cfg, number)

    def on_best(self, candidate):
        cfg = load_config(self.args.config_file, self.args.opts)
        cfg.MODEL.SPNAS.CODE = self.space.format(candidate.path)
        about = {"metric": cfg.SEARCH.METRIC, "score": candidate.score, "weights": BEST_WEIGHTS}
        write_best_config(cfg, self.cfg.OUTPUT_DIR, _ABOUT_BEST.format(code=cfg.MODEL.SPNAS.CODE, **about))

    def on_candidate(self, log, needed):
        """Remove the weights of what can be no parent any more."""
        scored = [c for c in log.history() if c.score is not None]
        parents = front_of(scored, self.searcher.costs) if self.searcher.select else scored[-1:]
        self.weights.keep({c.path for c in parents + log.best()}.union(needed()))

    def finish(self, log, evaluator):
        return self._result(log) if write_best_weights(log, self.weights.read) else []

    def _result(self, log):
        """Where the winner is, and what can be done with it."""
        cfg, best = self.cfg, log.best()[0]
        config, weights, picture = (os.path.join(cfg.OUTPUT_DIR, f) for f in (BEST_CONFIG, BEST_WEIGHTS, "search.png"))
        code = self.space.format(best.path)
        scores = {c.path: f"{c.score:.2f}" for c in log.best(None)}
        start = f"the start network, {self.searcher.start}, had {scores.get(self.searcher.start, 'no score')}"
        yield f"\nBest: {code}, {cfg.SEARCH.METRIC} {best.score:.2f}; {start}"
        yield f"Its config is {config}, its weights are {weights}; the search is drawn in {picture}"
        yield f"See what it finds:  demo/predict.py --config-file {config} --input IMAGES --output FOLDER"
        yield f"Train it in full:   train_net.py --config-file CONFIG MODEL.SPNAS.CODE {code} MODEL.WEIGHTS {weights}"

    @classmethod
    def evaluate(cls, cfg, args):
        log = SearchLog(cfg.OUTPUT_DIR, serial_space(cfg))
        code = SerialCode.parse(args.arch) if args.arch else None
        found = [c for c in log.best(None) if code in (None, c.path)]
        if not found:
            raise ValueError(f"{log.path} holds no {f'score of {code}' if code else 'finished candidate yet'}")
        code, weights = found[0].path, CandidateWeights(cfg.OUTPUT_DIR)
        if not PathManager.isfile(weights.file(code)):
            raise FileNotFoundError(
                f"{weights.file(code)} does not exist: weights are kept of the best and of the front alone; "
                "train_net.py trains any code"
            )
        metrics = SerialEvaluator(cfg).evaluate_again(code)
        print(f"code {code}, {cfg.DATASETS.TEST[0]}")
        print(metrics_table(metrics, found[0].metrics))
        with PathManager.open(os.path.join(cfg.OUTPUT_DIR, "evaluation.json"), "w") as f:
            json.dump({"path": str(code), "metrics": metrics}, f, indent=2)
        return metrics


def check_local(folder):
    """
    Raises:
        ValueError: if candidates cannot be trained in the output folder.
    """
    if "://" in folder:
        raise ValueError(f"OUTPUT_DIR {folder}: candidates are trained in it, so it must be a folder of this machine")


def scale_iterations(cfg, written):
    """
    A config whose ``SEARCH.CANDIDATE_ITERS`` goes with the batch of one worker, by Detectron2's rule for ``SOLVER``.

    Args:
        cfg: fitted to this machine.
        written: as it is in the file.
    """
    factor = written.SOLVER.IMS_PER_BATCH / cfg.SOLVER.IMS_PER_BATCH
    if factor == 1:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEARCH.CANDIDATE_ITERS = round(cfg.SEARCH.CANDIDATE_ITERS * factor)
    logger.info(f"A worker takes batches of {cfg.SOLVER.IMS_PER_BATCH}: {cfg.SEARCH.CANDIDATE_ITERS} iterations.")
    return cfg


def check_norm(cfg):
    """
    Raises:
        ValueError: if new blocks could not learn.
    """
    if cfg.MODEL.SPNAS.NORM == "FrozenBN":
        raise ValueError(
            "MODEL.SPNAS.NORM FrozenBN: a new block, whose last norm has weight 0, would never learn; use SyncBN or GN"
        )


def serial_space(cfg):
    """
    The space of a search.

    Raises:
        ValueError: if the start network is not in it.
    """
    spnas, search = cfg.MODEL.SPNAS, cfg.SEARCH
    space = SerialSpace(spnas.BLOCK, spnas.BASE_WIDTH, search.MIN_BLOCKS, search.MAX_BLOCKS, search.MAX_STAGES)
    start = SerialCode.parse(spnas.CODE)
    if start not in space:
        raise ValueError(
            f'MODEL.SPNAS.CODE "{start}", the start network, has {len(start.stages)} stages and {len(start)} blocks; '
            f"SEARCH.MAX_STAGES is {space.max_stages}, MIN_BLOCKS {space.min_blocks} and MAX_BLOCKS {space.max_blocks}"
        )
    return space


def build_searcher(cfg, space, limits):
    """
    Raises:
        ValueError: if an objective is no known cost, or no morph is ever drawn.
    """
    search, start = cfg.SEARCH, SerialCode.parse(cfg.MODEL.SPNAS.CODE)
    known = limits.costs(start)
    for name in search.OBJECTIVES:
        if name not in known:
            raise ValueError(f'SEARCH.OBJECTIVES: unknown cost "{name}"; there are: {", ".join(known)}')
    if not any(search.MORPHS.values()):
        raise ValueError("SEARCH.MORPHS are all 0: no child would differ from its parent")
    if search.ASYNCHRONOUS and search.REIGNITIONS:
        raise ValueError("SEARCH.ASYNCHRONOUS has no generations to be stuck in: set SEARCH.REIGNITIONS 0")
    return MorphSearcher(
        start,
        lambda code: code in space and limits(code),
        {name.lower(): weight for name, weight in search.MORPHS.items()},
        children=search.CHILDREN,
        costs=tuple(search.OBJECTIVES),
        stuck=search.STUCK,
        reignitions=search.REIGNITIONS,
        select=search.SELECT,
        seed=max(cfg.SEED, 0),
    )
