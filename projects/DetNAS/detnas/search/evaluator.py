"""Evaluates a path of a supernet: recalibrates its batch norms, then computes metrics on the held-out images."""

import contextlib
import functools
import io
import itertools
import math
import random

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.data import get_detection_dataset_dicts
from detectron2.evaluation.testing import flatten_results_dict

from detnas.batch_norm.folding import folded_batch_norms
from detnas.batch_norm.forward_to_last_norm import ForwardToLastNorm
from detnas.batch_norm.recalibration import build_recalibration_batches, recalibrate_bn, reset_cycle_norms
from detnas.config.load import candidate_space, image_settings, with_settings
from detnas.data.datasets import register_datasets
from detnas.data.fixed_batches import FixedBatches, in_batches, in_equal_batches, padded_test_size
from detnas.data.mapper import build_mapper, is_classifier
from detnas.errors import UserError
from detnas.evaluation.evaluators import build_evaluator, only_warnings
from detnas.modeling.builders import build_network
from detnas.modeling.choices import activate, is_supernet, state_of
from detnas.modeling.weights import load_weights

from .candidate import fitness
from .executor import LOOKS
from .racing import rung_sizes


class CandidateEvaluator:
    """
    ``evaluator(path)`` returns a path's metrics, such as {"bbox/AP": 23.4}; equal paths get equal metrics. In a race,
    ``evaluator(path, parents, to_beat)`` adds the looks as :data:`detnas.search.executor.LOOKS`. It returns looks alone
    after a rung below the score to beat, see :meth:`detnas.search.racing.Race.to_beat`.

    Args:
        cfg: a supernet's config with one held-out set in ``DATASETS.TEST``; UserError for another config. The images
            for recalibration come from ``DATASETS.TRAIN``.
        weights: checkpoint of the supernet; all names must match. None for random weights, by the seed.
        recalibrate: False keeps the batch-norm statistics of the checkpoint.
    """

    def __init__(self, cfg, weights, recalibrate=True):
        register_datasets((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST))  # a new process does not know them
        if len(cfg.DATASETS.TEST) != 1:
            raise UserError(f"a search takes one held-out set; DATASETS.TEST names {len(cfg.DATASETS.TEST)}")
        device = torch.device(cfg.MODEL.DEVICE).type
        self.autocast = functools.partial(torch.autocast, device, torch.bfloat16, cfg.SEARCH.AUTOCAST == "bf16")
        self.cfg, self.space, self.seed = cfg, candidate_space(cfg), max(cfg.SEED, 0)
        torch.manual_seed(self.seed)
        self.model = build_network(cfg).eval()
        if not is_supernet(self.model):
            raise UserError(f'a search needs MODEL.DETNAS.ARCH "supernet"; it is "{cfg.MODEL.DETNAS.ARCH}"')
        if weights is not None:
            load_weights(self.model, weights)
        channels_last = cfg.SEARCH.CHANNELS_LAST or self.model.device.type == "cpu"  # faster there; differs by rounding
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        if cfg.SEARCH.CHANNELS_LAST:
            self.model.to(memory_format=torch.channels_last)
        self.forward_to_last_norm = ForwardToLastNorm(self.model)
        with only_warnings("detectron2"):
            self.recalibrates, self.batches = recalibrate, {}  # image settings -> recalibration and held-out batches
            self.take_batches({})  # errors in the data show now, before the first candidate
            self.metric = build_evaluator(cfg.DATASETS.TEST[0], distributed=False)

    def __call__(self, path, parents=(), to_beat=()):  # parents do not matter: the supernet has all weights
        looks = []
        with only_warnings("detectron2", "fvcore"):
            self.activate(path)
            self.recalibrate()
            self.metric.reset()
            for rung, end, least in itertools.zip_longest(self.held_out, self.ends, to_beat):
                self.collect(rung)
                metrics = self.score()
                if end == self.ends[-1]:
                    return {**metrics, LOOKS: looks} if looks else metrics
                # Images without objects give no score: all candidates tie.
                score = round(fitness(metrics, self.cfg.SEARCH.METRIC) or 0.0, 3)
                looks.append({"images": end, "score": score})
                if least is not None and score < least:
                    return {LOOKS: looks}

    def activate(self, path):
        """Run the model as a path, on images of the path's size."""
        activate(self.model, self.space, path)
        self.take_batches(self.space.settings(path))

    def take_batches(self, settings):
        """Use images that are read by the ``INPUT`` keys of ``settings``; equal keys share their batches."""
        own = image_settings(settings)
        if str(own) not in self.batches:
            cfg = with_settings(self.cfg, own)
            recalibration = build_recalibration_batches(cfg) if self.recalibrates else None
            self.batches[str(own)] = recalibration, self.read_held_out(cfg)
        self.recalibration, self.held_out = self.batches[str(own)]

    def recalibrate(self):
        """Recompute the batch-norm statistics for the active path."""
        if self.recalibration is not None:
            with self.autocast():
                recalibrate_bn(self.forward_to_last_norm, self.recalibration, self.seed)

    def read_held_out(self, cfg):
        """The batches of each rung of a race; without a race one rung has all images."""
        dicts, parts = get_detection_dataset_dicts([cfg.DATASETS.TEST[0]], filter_empty=False), ()
        if cfg.SEARCH.RACING:
            parts = cfg.SEARCH.RACING_PARTS
            random.Random(f"race {self.seed}").shuffle(dicts)  # the first images may all be of one kind
        self.ends = rung_sizes(len(dicts), parts)
        rungs = [dicts[begin:end] for begin, end in zip((0, *self.ends), self.ends)]
        return [build_held_out_batches(cfg, self.model, rung, len(rung) / len(dicts)) for rung in rungs]

    def inherit(self, path):
        """The state dict of a path as a single network, with the batch-norm statistics of its evaluation."""
        with only_warnings("detectron2", "fvcore"):
            self.activate(path)
            self.recalibrate()
        return state_of(self.model, self.space, path)

    def collect(self, batches):
        with self.inference():
            for inputs in batches:
                self.metric.process(inputs, self.model(inputs))

    @contextlib.contextmanager
    def inference(self):
        """Set the model up for the held-out images: no gradients, norms folded into the convs."""
        reset_cycle_norms(self.model)
        folded = folded_batch_norms(self.model, self.memory_format)
        with torch.no_grad(), folded, torch.inference_mode(), self.autocast():
            yield

    def score(self):
        return collected_metrics(self.metric)


def build_held_out_batches(cfg, model, dicts=None, share=1):
    """
    Batches of ``dicts`` that give the same results as single images; None takes the images of ``DATASETS.TEST[0]``.
    They keep at most ``share`` of ``SEARCH.IMAGE_CACHE_GB`` in memory.
    """
    if dicts is None:
        dicts = get_detection_dataset_dicts([cfg.DATASETS.TEST[0]], filter_empty=False)
    size = cfg.SEARCH.EVALUATION_BATCH
    if is_classifier(cfg):
        batches = in_batches(dicts, size)
    else:
        batches = in_equal_batches(dicts, size, padded_test_size(cfg, model.backbone.size_divisibility or 1))
    return FixedBatches(
        batches, build_mapper(cfg, is_train=False), cfg.SEARCH.IMAGE_CACHE_GB * 1e9 * share, cfg.DATALOADER.NUM_WORKERS
    )


def collected_metrics(evaluator):
    """The metrics of what a Detectron2 evaluator has collected, see :func:`flatten`."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        return flatten(evaluator.evaluate())


def flatten(results):
    """{task: {metric: value}} -> {"task/metric": value}; None replaces a value that is not finite."""
    flat = flatten_results_dict(results)
    return {name: float(value) if math.isfinite(value) else None for name, value in flat.items()}
