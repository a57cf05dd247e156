"""A forward pass in training mode that ends at the last batch norm, for recalibration."""

import contextlib
from typing import Dict, List

from detectron2.modeling.proposal_generator import RPN
from fvcore.nn.precise_bn import BN_MODULE_TYPES
from torch import nn

from detnas.modeling.choices import choice_modules, inactive_modules

from .recalibration import reset_cycle_norms


class _PastLastNorm(Exception):
    """Ends the pass after the last batch norm."""


class ForwardToLastNorm(nn.Module):
    """Runs a model up to its last batch norm, without losses. The first pass with a set of norms finds the last one."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self._last = {}  # norms that run -> the last of them; a dict, so that no module is registered twice

    def forward(self, batch: List[Dict]) -> None:
        seen, norms = [], frozenset(self._norms())
        if norms in self._last:
            hooks = [m.register_forward_hook(_stop) for m in self._last[norms]]
        else:
            hooks = [m.register_forward_hook(lambda module, *_: seen.append(module)) for m in norms]
        try:
            with _no_rpn_losses(self.model), contextlib.suppress(_PastLastNorm):
                self.model(batch)
        finally:
            for hook in hooks:
                hook.remove()
            reset_cycle_norms(self.model)
        self._last.setdefault(norms, seen[-1:])

    def _norms(self):
        """Return active norms outside of choices, and choices as a whole: their last norm depends on the candidate."""
        choices = [m for m in choice_modules(self.model).values() if m is not self.model]
        passed = {m for choice in (*choices, *inactive_modules(self.model)) for m in choice.modules()}
        return choices + [m for m in self.model.modules() if isinstance(m, BN_MODULE_TYPES) and m not in passed]


def _stop(*_):
    raise _PastLastNorm


@contextlib.contextmanager
def _no_rpn_losses(model):
    """Skip the losses of RPNs, which they compute before the RoI heads and their norms run."""
    rpns = [m for m in model.modules() if isinstance(m, RPN)]
    for rpn in rpns:
        rpn.label_and_sample_anchors = lambda anchors, instances: (None, None)
        rpn.losses = lambda *args: {}
    try:
        yield
    finally:
        for rpn in rpns:
            del rpn.label_and_sample_anchors, rpn.losses
