"""A forward pass in training mode that ends at the last batch norm, for recalibration."""

import contextlib
from typing import Dict, List

from detectron2.modeling.proposal_generator import RPN
from fvcore.nn.precise_bn import BN_MODULE_TYPES
from torch import nn

from detnas.modeling.choices import choice_modules

from .recalibration import reset_cycle_norms


class _PastLastNorm(Exception):
    """Raised behind the last batch norm, to end the pass."""


class ForwardToLastNorm(nn.Module):
    """
    Runs a model up to its last batch norm and returns nothing; no loss is computed. RetinaNet without norms in its head
    never runs the head. The first pass finds out which norm is the last one.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self._last = []  # a list, so that the module is not registered twice

    def forward(self, batch: List[Dict]) -> None:
        seen = []
        if self._last:
            hooks = [self._last[0].register_forward_hook(_stop)]
        else:
            hooks = [m.register_forward_hook(lambda module, *_: seen.append(module)) for m in self._candidates()]
        try:
            with _no_rpn_losses(self.model), contextlib.suppress(_PastLastNorm):
                self.model(batch)
        finally:
            for hook in hooks:
                hook.remove()
            reset_cycle_norms(self.model)
        self._last = self._last or seen[-1:]

    def _candidates(self):
        """Norms outside the choices, and each choice as a whole: its last norm is another one for each candidate."""
        choices = list(choice_modules(self.model).values())
        inside = {m for choice in choices for m in choice.modules()}
        return choices + [m for m in self.model.modules() if isinstance(m, BN_MODULE_TYPES) and m not in inside]


def _stop(*_):
    raise _PastLastNorm


@contextlib.contextmanager
def _no_rpn_losses(model):
    """Let RPNs skip their losses, which they compute before the RoI heads run, whose norms may matter."""
    rpns = [m for m in model.modules() if isinstance(m, RPN)]
    for rpn in rpns:
        rpn.label_and_sample_anchors = lambda anchors, instances: (None, None)
        rpn.losses = lambda *args: {}
    try:
        yield
    finally:
        for rpn in rpns:
            del rpn.label_and_sample_anchors, rpn.losses
