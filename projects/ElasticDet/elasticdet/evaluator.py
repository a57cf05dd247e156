"""
AP of a family's children, each cut out. Children that differ only behind the backbone share its features, and those
that differ only in tests, as in proposals, share the statistics of their batch norms.
"""

import itertools

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from torch import nn

from detnas.batch_norm.forward_to_last_norm import ForwardToLastNorm
from detnas.config.load import with_settings
from detnas.modeling.builders import build_network
from detnas.modeling.choices import state_of
from detnas.search.evaluator import CandidateEvaluator

from .space import only_tests_see

#: prefixes of keys that change no features of a backbone without its FPN
_HEADS = "MODEL.FPN", "MODEL.RPN", "MODEL.ROI_", "MODEL.RETINANET", "MODEL.ANCHOR_GENERATOR", "TEST", "SEARCH"
#: ends of the names of a batch norm's buffers
_STATISTICS = "running_mean", "running_var", "num_batches_tracked"


class FamilyEvaluator(CandidateEvaluator):
    """Evaluates a family. Children with equal images and backbones share features, up to ``SEARCH.IMAGE_CACHE_GB``."""

    def __init__(self, cfg, weights, recalibrate=True):
        self.features, self.left = {}, cfg.SEARCH.IMAGE_CACHE_GB * 1e9
        self.statistics = {}  # settings that a training sees -> buffers of the batch norms
        super().__init__(cfg, weights, recalibrate)
        self.family = self.model

    def activate(self, path):
        settings = self.space.settings(path)
        self.take_batches(settings)
        with torch.random.fork_rng(devices=[]):
            self.model = build_network(with_settings(self.cfg, settings)).eval()
        self.model.load_state_dict(state_of(self.family, self.space, path))
        self.forward_to_last_norm = ForwardToLastNorm(self.model)
        self.trained_as = _text(settings, lambda key: not only_tests_see(key))
        self.passes = itertools.count()
        key = _text(settings, lambda key: not key.startswith(_HEADS))
        self._keep(getattr(self.model.backbone, "bottom_up", self.model.backbone), self.features.setdefault(key, {}))

    def recalibrate(self):
        if self.trained_as in self.statistics:
            self.model.load_state_dict(self.statistics[self.trained_as], strict=False)
            # The passes over these batches are left out.
            self.passes = itertools.count(len(self.recalibration or ()))
            return
        super().recalibrate()
        kept = {name: value.clone() for name, value in self.model.named_buffers() if name.endswith(_STATISTICS)}
        self.statistics[self.trained_as] = kept

    def _keep(self, backbone, kept):
        forward = backbone.forward
        norms = [module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]

        def kept_or_new(images):
            number = next(self.passes)
            # This pass computes statistics.
            if any(norm.training for norm in norms):
                return forward(images)
            if number in kept:
                return kept[number]
            features = forward(images)
            size = sum(feature.nbytes for feature in features.values())
            if size <= self.left:
                self.left -= size
                kept[number] = features
            return features

        backbone.forward = kept_or_new


def _text(settings, counts):
    return str(sorted((key, value) for key, value in settings.items() if counts(key)))
