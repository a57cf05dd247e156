"""Blocks (paper, Sec. 3.3): ShuffleNetV2 units with a choice of main branches. N images, C channels, H x W pixels."""

from typing import Tuple

import torch
from detectron2.layers import get_norm
from torch import nn

from detnas.space import BlockSpec

#: norms by the names of Detectron2
NORMS = ("BN", "SyncBN", "FrozenBN", "GN", "naiveSyncBN", "naiveSyncBN_N", "nnSyncBN")


def init_conv(conv: nn.Conv2d) -> None:
    """He's initialisation by fan-in. By fan-out, depthwise convs would start far too small: each sees one channel."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def _conv(in_channels, out_channels, norm, kernel_size=1, stride=1, groups=1):
    """Conv without bias, padded to keep the size at stride 1, and its norm."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
    init_conv(conv)
    return [conv, get_norm(norm, out_channels)]


def _depthwise(channels, kernel_size, stride, norm):
    return _conv(channels, channels, norm, kernel_size, stride, groups=channels)


def shufflenet(c_in: int, c_mid: int, c_out: int, kernel_size: int, stride: int, norm: str) -> nn.Sequential:
    """Convs: 1x1, depthwise with the kernel size and the stride, 1x1. The block adds the last ReLU."""
    return nn.Sequential(
        *_conv(c_in, c_mid, norm),
        nn.ReLU(inplace=True),
        *_depthwise(c_mid, kernel_size, stride, norm),
        *_conv(c_mid, c_out, norm),
    )


def xception(c_in: int, c_mid: int, c_out: int, kernel_size: int, stride: int, norm: str) -> nn.Sequential:
    """Three times a depthwise and a 1x1 conv. The first conv takes the stride. The block adds the last ReLU."""
    return nn.Sequential(
        *_depthwise(c_in, kernel_size, stride, norm),
        *_conv(c_in, c_mid, norm),
        nn.ReLU(inplace=True),
        *_depthwise(c_mid, kernel_size, 1, norm),
        *_conv(c_mid, c_mid, norm),
        nn.ReLU(inplace=True),
        *_depthwise(c_mid, kernel_size, 1, norm),
        *_conv(c_mid, c_out, norm),
    )


#: op name -> (builder of its main branch, its kernel size)
OPS = {
    "shufflenet_3x3": (shufflenet, 3),
    "shufflenet_5x5": (shufflenet, 5),
    "shufflenet_7x7": (shufflenet, 7),
    "xception_3x3": (xception, 3),
    "shufflenet_1x1": (shufflenet, 1),
}


def even_odd_halves(x: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Two (N, C / 2, H, W) views: even channels pass, odd ones enter main (all published single networks)."""
    n, c, h, w = x.shape  # x[:, 0::2] and x[:, 1::2] have slow gradients: two of full size, half zeros, and a sum
    return x.view(n, c // 2, 2, h, w).unbind(2)


def interleaved_halves(x: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
    """Two (N, C / 2, H, W) halves after a two-group shuffle: one passes, one enters main (the released supernets)."""
    n, c, h, w = x.shape
    x = x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
    return x[:, : c // 2], x[:, c // 2 :]


SHUFFLES = {"even_odd": even_odd_halves, "interleave": interleaved_halves}


class ShuffleUnit(nn.Module):
    """
    One block: (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride).

    At stride 1, half of the channels pass unchanged and the others enter the main branch. At stride 2, all channels
    enter the main branch and a projection with the op's kernel size. ``op``, ``norm`` and ``shuffle`` are names in
    :data:`OPS`, :data:`NORMS` and :data:`SHUFFLES`; Detectron2's ``get_norm`` takes other norms, too.
    """

    def __init__(self, spec: BlockSpec, op: str, norm: str = "BN", shuffle: str = "even_odd"):
        super().__init__()
        build_main, kernel_size = OPS[op]
        c_in, c_out, c_mid = spec.in_channels, spec.out_channels, spec.out_channels // 2
        if spec.stride == 1:
            self.split_channels = SHUFFLES[shuffle]
            self.proj = None
            c_in = c_in // 2
        else:
            self.proj = nn.Sequential(
                *_depthwise(c_in, kernel_size, spec.stride, norm),
                *_conv(c_in, c_in, norm),
                nn.ReLU(inplace=True),
            )
        self.main = build_main(c_in, c_mid, c_out - c_in, kernel_size, spec.stride, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.proj is None:
            untouched, x = self.split_channels(x)
        else:
            untouched = self.proj(x)
        return torch.cat([untouched, self.main(x).relu_()], dim=1)
