"""Scores a network on the held-out images after it inherits weights and trains for a short time."""

import os
import zlib

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch

from detnas.batch_norm.forward_to_last_norm import ForwardToLastNorm
from detnas.batch_norm.recalibration import build_recalibration_batches, recalibrate_bn
from detnas.config.load import with_settings
from detnas.data.datasets import register_datasets
from detnas.data.loader import seed_rngs
from detnas.errors import UserError
from detnas.evaluation.evaluators import build_evaluator, only_warnings
from detnas.modeling.builders import build_network
from detnas.search.candidate import fitness
from detnas.search.evaluator import build_held_out_batches, collected_metrics
from detnas.search.executor import SearchImpossible
from detnas.training.trainer import build_trainer

from . import builders  # noqa: F401  registers the networks in a worker, too
from .code import SerialCode
from .inheritance import inherit
from .weights import CandidateWeights, save

#: prefix of a candidate's metrics before its training
INHERITED = "inherited/"


class TrainedEvaluator:
    """
    ``evaluator(code, parents)`` returns metrics after ``SEARCH.CANDIDATE_ITERS`` iterations, the same for the same code
    and parent. :class:`spnas.weights.CandidateWeights` keeps the weights. An interrupted training goes on from its last
    checkpoint. A serial network inherits from its parent. The start network, which has none, and all candidates of a
    parallel search start from ``MODEL.WEIGHTS``.
    """

    def __init__(self, cfg):
        self.cfg, self.weights = cfg, CandidateWeights(cfg.OUTPUT_DIR)
        # A new worker has no data sets.
        register_datasets((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST))
        with only_warnings("detectron2"):
            self.metric = build_evaluator(cfg.DATASETS.TEST[0], distributed=False)
        self.held_out = {}  # side that images are padded to a multiple of -> batches
        self.recalibration = None

    def __call__(self, code, parents):
        cfg = candidate_config(self.cfg, code)
        os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
        inherited = {}
        with only_warnings("detectron2", "fvcore", "detnas.modeling"):
            seed_rngs("candidate", self.cfg.SEED, str(code))
            if parents and isinstance(code, SerialCode):
                model = self._child(cfg, code, parents[0])
                cfg.MODEL.WEIGHTS = os.path.join(cfg.OUTPUT_DIR, "inherited.pth")
                save(model.state_dict(), cfg.MODEL.WEIGHTS)
                if cfg.SEARCH.EVALUATE_INHERITED:
                    inherited = {INHERITED + name: value for name, value in self.evaluate(cfg, model).items()}
            model = train(cfg)
            metrics = self.evaluate(cfg, model)
        self.weights.write(code, model.state_dict())
        return {**metrics, **inherited}

    def untrained(self, code, parent):
        """The score of a child before any training, its norms recalibrated on training images; None if not finite."""
        cfg = candidate_config(self.cfg, code)
        with only_warnings("detectron2", "fvcore", "detnas.modeling"):
            seed_rngs("candidate", self.cfg.SEED, str(code))
            model = self._child(cfg, code, parent)
            self.recalibration = self.recalibration or build_recalibration_batches(cfg)
            recalibrate_bn(ForwardToLastNorm(model), self.recalibration)
            return fitness(self.evaluate(cfg, model), cfg.SEARCH.METRIC)

    def _child(self, cfg, code, parent):
        model = build_network(cfg)
        model.load_state_dict(inherit(parent, self._of_parent(parent), code, model.state_dict()))
        return model

    def _of_parent(self, code):
        try:
            return self.weights.read(code)
        except UserError as e:
            # Its children can never be trained.
            raise SearchImpossible(f"{e}. The search needs them: put the file back, or begin in another OUTPUT_DIR"
                                   ) from None

    def evaluate_again(self, code):
        """Metrics of a candidate with its kept weights."""
        cfg = candidate_config(self.cfg, code)
        model = build_network(cfg)
        model.load_state_dict(self.weights.read(code))
        return self.evaluate(cfg, model)

    def evaluate(self, cfg, model):
        """Metrics of a model on the held-out images."""
        divisor = model.backbone.size_divisibility
        if divisor not in self.held_out:
            self.held_out[divisor] = build_held_out_batches(cfg, model)
        self.metric.reset()
        model.eval()
        with torch.inference_mode():
            for inputs in self.held_out[divisor]:
                self.metric.process(inputs, model(inputs))
        return collected_metrics(self.metric)


def candidate_config(cfg, code):
    """Config of a candidate's training: its network, iterations, output folder and order of images."""
    output = CandidateWeights(cfg.OUTPUT_DIR).training(code)
    cfg = with_settings(cfg, {"MODEL.SPNAS.CODE": str(code)})
    cfg.SOLVER.MAX_ITER = cfg.SEARCH.CANDIDATE_ITERS
    # Another order of images than its parent's.
    cfg.SEED = zlib.crc32(f"{cfg.SEED} {code}".encode()) >> 1
    cfg.OUTPUT_DIR = output
    return cfg


def train(cfg):
    """
    Train a config's model, or continue its interrupted training; returns the model. FloatingPointError if a loss is not
    finite; KeyboardInterrupt if the user stopped it, which saves a checkpoint.
    """
    # The caller evaluates the model.
    test, cfg.DATASETS.TEST = cfg.DATASETS.TEST, ()
    try:
        trainer = build_trainer(cfg, resume=True)
        trainer.train(trainer.start_iter, cfg.SOLVER.MAX_ITER)
    except SystemExit as e:
        if isinstance(e.code, str):
            raise FloatingPointError(e.code.removeprefix("error: ")) from None
        raise KeyboardInterrupt from None
    finally:
        cfg.DATASETS.TEST = test
    return trainer.model
