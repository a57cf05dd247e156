"""Counts ``flops``: in this project, the multiply-adds of conv and linear layers for one image, without biases."""

import contextlib
from collections import Counter
from typing import Iterator

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

#: operations that take most of the time on the meta device and change no shape
_FILLS = {torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_, torch.Tensor.zero_}


class _WithoutValues(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__module__", "") == nn.init.__name__:
            return kwargs["tensor"]
        if func in _FILLS or func is nn.functional.batch_norm:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def shapes_alone() -> Iterator[None]:
    """Build and run modules on the meta device in this context. Tensors have shapes but no values."""
    with torch.device("meta"), _WithoutValues():
        yield


@contextlib.contextmanager
def count_flops(model: nn.Module) -> Iterator[Counter]:
    """Yield module -> multiply-adds of its calls in this context, for conv, transposed conv and linear layers."""
    flops = Counter()

    def count(module, inputs, output):
        if isinstance(module, nn.Linear):
            flops[module] += output.numel() * module.in_features
        else:
            transposed = isinstance(module, nn.ConvTranspose2d)  # uses a window per input value, a conv per output
            values, channels = (inputs[0], module.out_channels) if transposed else (output, module.in_channels)
            flops[module] += values.numel() * channels // module.groups * module.kernel_size[0] * module.kernel_size[1]

    counted = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))]
    hooks = [module.register_forward_hook(count) for module in counted]
    try:
        yield flops
    finally:
        for hook in hooks:
            hook.remove()
