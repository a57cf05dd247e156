"""The score of a path of a supernet: batch-norm statistics of its own, then results on the held-out images."""

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
from detnas.config.load import candidate_space, image_settings, with_images
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
    ``evaluator(path)`` gives the metrics of a path, such as {"bbox/AP": 23.4, ...}, the same ones for the same path.
    Model and images are loaded once.

    Args:
        cfg: a supernet's config. The first of ``DATASETS.TEST`` is the held-out set; recalibration images are drawn
            from ``DATASETS.TRAIN``.
        weights: checkpoint of the supernet; all names must match. None for random weights, by the seed.
        recalibrate: False leaves the statistics of the checkpoint, to see what recalibration is good for.
    """

    def __init__(self, cfg, weights, recalibrate=True):
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
        # On a CPU it is faster, and changes what a conv puts out by rounding alone.
        channels_last = cfg.SEARCH.CHANNELS_LAST or self.model.device.type == "cpu"
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        if cfg.SEARCH.CHANNELS_LAST:
            self.model.to(memory_format=torch.channels_last)
        self.forward_to_last_norm = ForwardToLastNorm(self.model)
        with only_warnings("detectron2"):
            self.recalibrates, self.batches = recalibrate, {}  # image settings -> recalibration and held-out batches
            # Before a candidate is evaluated: what is wrong with the data is told at the start.
            self.take_batches({})
            self.metric = build_evaluator(cfg.DATASETS.TEST[0], distributed=False)

    def __call__(self, path, parents=()):
        # The supernet has the weights of every path, whatever it was made from.
        with only_warnings("detectron2", "fvcore"):
            self.activate(path)
            self.recalibrate()
            self.predict()
            return self.score()

    def activate(self, path):
        """Let the model run as a path, on images of its size."""
        activate(self.model, self.space, path)
        self.take_batches(self.space.settings(path))

    def take_batches(self, settings):
        """Recalibrate with, and predict on, images that are read as some settings say, each once."""
        own = str(image_settings(settings))
        if own not in self.batches:
            cfg = with_images(self.cfg, settings)
            recalibration = build_recalibration_batches(cfg) if self.recalibrates else None
            self.batches[own] = recalibration, self.read_held_out(cfg)
        self.recalibration, self.held_out = self.batches[own]

    def recalibrate(self):
        """Give the active path its own batch-norm statistics."""
        if self.recalibration is not None:
            with self.autocast():
                recalibrate_bn(self.forward_to_last_norm, self.recalibration, self.seed)

    def read_held_out(self, cfg):
        """The batches of held-out images."""
        return build_held_out_batches(cfg, self.model)

    def inherit(self, path):
        """
        The state dict of a path as a network of its own: with the supernet's weights and the batch-norm statistics that
        ``evaluator(path)`` judges it by.
        """
        with only_warnings("detectron2", "fvcore"):
            self.activate(path)
            self.recalibrate()
        return state_of(self.model, self.space, path)

    def predict(self):
        """Collect the detections, or classes, of the held-out images."""
        self.metric.reset()
        self.collect(self.held_out)

    def collect(self, batches):
        """Collect those of some images, beside what is collected."""
        with self.inference():
            for inputs in batches:
                self.metric.process(inputs, self.model(inputs))

    @contextlib.contextmanager
    def inference(self):
        """The model as it runs over the held-out images: no gradients, norms folded into the convs."""
        reset_cycle_norms(self.model)
        folded = folded_batch_norms(self.model, self.memory_format)
        with torch.no_grad(), folded, torch.inference_mode(), self.autocast():
            yield

    def score(self):
        """The metrics of what was collected."""
        return collected_metrics(self.metric)


class RacedEvaluator(CandidateEvaluator):
    """
    ``evaluator(path, parents, to_beat)`` gives the metrics of a path as a :class:`CandidateEvaluator` does, and its
    looks under :data:`detnas.search.executor.LOOKS`; the looks alone where it has less than the score to beat on a
    rung, see :meth:`detnas.search.racing.Race.to_beat`.
    """

    def read_held_out(self, cfg):
        """The batches of each rung."""
        dicts = get_detection_dataset_dicts([cfg.DATASETS.TEST[0]], filter_empty=False)
        # A rung is a sample of all images, and not those of one kind that stand first.
        random.Random(f"race {self.seed}").shuffle(dicts)
        self.metric_name, self.ends = cfg.SEARCH.METRIC, rung_sizes(len(dicts), cfg.SEARCH.RACING_PARTS)
        rungs = [dicts[begin:end] for begin, end in zip((0, *self.ends), self.ends)]
        return [build_held_out_batches(cfg, self.model, rung, len(rung) / len(dicts)) for rung in rungs]

    def __call__(self, path, parents=(), to_beat=()):
        self.metric.reset()
        looks = []
        with only_warnings("detectron2", "fvcore"):
            self.activate(path)
            self.recalibrate()
            for rung, end, least in itertools.zip_longest(self.held_out, self.ends, to_beat):
                self.collect(rung)
                metrics = self.score()
                if end == self.ends[-1]:
                    return {**metrics, LOOKS: looks}
                # Where no image has an object there is no score, and all candidates are alike.
                looks.append({"images": end, "score": round(fitness(metrics, self.metric_name) or 0.0, 3)})
                if least is not None and looks[-1]["score"] < least:
                    return {LOOKS: looks}


def build_candidate_evaluator(cfg, weights, recalibrate=True):
    """The evaluator that a config asks for, also in a new process that knows nothing of the data yet."""
    register_datasets((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST))
    return (RacedEvaluator if cfg.SEARCH.RACING else CandidateEvaluator)(cfg, weights, recalibrate)


def build_held_out_batches(cfg, model, dicts=None, share=1):
    """
    Batches that give the same results as single images.

    Args:
        cfg, model: of the search.
        dicts: dataset dicts; None: those of the first of ``DATASETS.TEST``.
        share: of the memory for images that these may have.
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
    """The metrics of what an evaluator of Detectron2 has collected, see :func:`flatten`."""
    # pycocotools prints.
    with contextlib.redirect_stdout(io.StringIO()):
        return flatten(evaluator.evaluate())


def flatten(results):
    """{task: {metric: value}} -> {"task/metric": value}, None for what could not be computed."""
    flat = flatten_results_dict(results)
    return {name: float(value) if math.isfinite(value) else None for name, value in flat.items()}
