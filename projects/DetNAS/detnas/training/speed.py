"""What makes training fast: mixed precision (fp16 on a GPU, bf16 on a CPU), and memory that is used again."""

import contextlib
import ctypes

import torch
from torch.overrides import TorchFunctionMode


def fast_bf16() -> bool:
    """Whether this CPU computes in bf16: without such instructions mixed precision is slower than fp32."""
    there = getattr(torch.cpu, "get_capabilities", dict)()
    return any(there.get(name) for name in ("avx512_bf16", "amx_bf16"))


def keep_memory() -> None:
    """Let this process keep memory that it frees, on Linux: to get it anew takes a tenth of a step on large images."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(-4, 0)  # M_MMAP_MAX
        mallopt(-1, 2 ** 31 - 1)  # M_TRIM_THRESHOLD


@contextlib.contextmanager
def mixed_precision(device: str, enabled: bool):
    """Compute the forward pass within the block in mixed precision on ``device``, "cuda" or "cpu", if ``enabled``."""
    cpu = device == "cpu"
    with torch.autocast(device, torch.bfloat16 if cpu else torch.float16, enabled):
        with _DepthwiseConvs() if cpu and enabled else contextlib.nullcontext():
            yield


class _DepthwiseConvs(TorchFunctionMode):
    """Lets every depthwise conv be a :class:`_DepthwiseConv`, whichever module calls it."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return (_conv if func is torch.conv2d else func)(*args, **(kwargs or {}))


def _conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    settings = stride, padding, dilation, groups
    if groups == 1 or weight.shape[1] != 1 or isinstance(padding, str):
        return torch.conv2d(input, weight, bias, *settings)
    return _DepthwiseConv.apply(input.bfloat16(), weight, bias, *settings)


class _DepthwiseConv(torch.autograd.Function):
    """
    A depthwise conv in bf16 with a backward pass in fp32. torch takes several times as long for the backward pass in
    bf16, so that mixed precision would not pay on a CPU (docs/benchmarks.md).
    """

    @staticmethod
    def forward(ctx, input, weight, bias, *settings):
        ctx.save_for_backward(input, weight)
        ctx.settings = settings
        with torch.autocast("cpu", enabled=False):
            return torch.conv2d(input, weight.bfloat16(), None if bias is None else bias.bfloat16(), *settings)

    @staticmethod
    def backward(ctx, gradient):
        input, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.settings
        sides = ([side, side] if isinstance(side, int) else list(side) for side in (stride, padding, dilation))
        needed = ctx.needs_input_grad[:3]
        bias = [groups] if needed[2] else None
        of_input, *others = torch.ops.aten.convolution_backward(
            gradient.float(), input.float(), weight, bias, *sides, False, [0, 0], groups, needed
        )
        return of_input.bfloat16() if needed[0] else None, *others, None, None, None, None
