"""Folds batch norms into the convs before them while a network is evaluated."""

import contextlib
from typing import Iterator

import torch
from detectron2.layers import FrozenBatchNorm2d
from fvcore.nn.precise_bn import BN_MODULE_TYPES
from torch import nn
from torch.nn.utils import fuse_conv_bn_weights

from detnas.modeling.choices import inactive_modules


@contextlib.contextmanager
def folded_batch_norms(model: nn.Module, memory_format: torch.memory_format = torch.contiguous_format) -> Iterator:
    """
    Fold batch norms into the convs before them within the block. Afterwards the model is as before, bit by bit. A norm
    is folded if it follows a conv in an ``nn.Sequential``, or is the attribute ``norm`` of Detectron2's ``Conv2d``. Ops
    outside the supernet's path are skipped. The model must be in eval mode. Its outputs change only by rounding. Folded
    convs and their outputs have the ``memory_format``.
    """
    undo, unused = [], {m for left_out in inactive_modules(model) for m in left_out.modules()}
    try:
        for module in model.modules():
            if module in unused:
                continue
            if isinstance(module, nn.Sequential):
                names = list(module._modules)
                for name, following in zip(names, names[1:]):
                    conv, norm = module._modules[name], module._modules[following]
                    if isinstance(conv, nn.Conv2d) and getattr(conv, "norm", None) is None and _foldable(norm):
                        undo.append(_fold(conv, norm, module._modules, following, nn.Identity(), memory_format))
            elif isinstance(module, nn.Conv2d) and _foldable(getattr(module, "norm", None)):
                undo.append(_fold(module, module.norm, module._modules, "norm", None, memory_format))
        yield
    finally:
        for restore in undo:
            restore()


def _foldable(norm):
    return isinstance(norm, FrozenBatchNorm2d) or (isinstance(norm, BN_MODULE_TYPES) and not norm.training)


def _fold(conv, norm, owner, name, stand_in, memory_format):
    """Fold a norm into its conv. Returns a function that restores both."""
    weight, bias = conv.weight, conv.bias
    statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    folded_weight, conv.bias = fuse_conv_bn_weights(weight, bias, *statistics)
    conv.weight = nn.Parameter(folded_weight.detach().contiguous(memory_format=memory_format))
    owner[name] = stand_in

    def restore():
        conv.weight, conv.bias = weight, bias
        owner[name] = norm

    return restore
