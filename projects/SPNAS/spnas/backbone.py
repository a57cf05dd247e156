"""SP-NAS networks, serial and parallel, as Detectron2 backbones. N images, C channels, H x W pixels."""

import re
from typing import Dict, List, Sequence, Union

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.layers import CNNBlockBase, Conv2d, get_norm
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, BottleneckBlock, ResNet
from fvcore.nn import weight_init
from torch import nn

from detnas.errors import UserError

from .code import ParallelCode, SerialCode
from .config import NORMS, split_block
from .parallel_stage import ParallelStage

#: names of the stages
FEATURES = tuple(f"res{k}" for k in range(2, 8))


class SPNet(ResNet):
    """
    The network of a code; returns maps of the serial stages. UserError if the code is none or a setting does not fit.

    Weights are named as in Detectron2's ResNets: ``stem.*``, ``res2.0.conv1.*``. Copies and their fusion are in
    ``parallel.*``. A state dict of the serial network loads as it is: each copy starts with its stage's weights. A
    fusion starts with weight 0: until its training, the network computes the same as its serial one, bit for bit.

    Args:
        code: or its text, see :class:`spnas.code.ParallelCode`.
        block: "basic", "bottleneck" (stride on its 3x3), or "32x4d" and the like for ResNeXt.
        base_width: channels of the stem, and planes of a block at width 1; a bottleneck has 4 times as many outputs.
        stem: "7x7" is a conv and a 3x3 max-pool, "3x3" two convs; both have stride 4.
        shortcut: of blocks that halve the resolution and keep the channels. "subsample" has no parameters: a block has
            the same tensors at every place, so a search can move it. Published networks have "projection".
        tied: whether copies share their stage's weights; running statistics are never shared.
        norm: one of :data:`spnas.config.NORMS`.
        out_features: which of "res2".. to return, all if empty; later stages are not built.
        freeze_at: 0 trains everything, 1 freezes the stem, 2 the first stage too, and so on.
    """

    @configurable
    def __init__(
        self, code: Union[str, SerialCode, ParallelCode], *, block: str = "bottleneck", base_width: int = 64,
        stem: str = "7x7", shortcut: str = "subsample", tied: bool = True, norm: str = "BN",
        out_features: Sequence[str] = (), freeze_at: int = 0,
    ):
        code = ParallelCode.parse(str(code))
        serial = code.serial
        if norm not in NORMS:
            raise UserError(f'norm "{norm}"; there are: {", ".join(NORMS)}')
        names = FEATURES[: len(serial.stages)]
        out_features = list(out_features or names)
        if not set(out_features) <= set(names):
            raise UserError(f'out_features {out_features}; code "{code}" has {", ".join(names)}')
        if not 0 <= freeze_at <= len(names) + 1:
            raise UserError(f'freeze_at {freeze_at}; code "{code}" has 0 to {len(names) + 1}')
        last = max(map(names.index, out_features))
        stages = [[] for _ in names[: last + 1]]
        channels = base_width
        for spec in serial.blocks():
            if spec.stage <= last:
                made = make_block(block, channels, base_width * spec.width, spec.stride, norm)
                if spec.stride > 1 and made.shortcut is None:
                    made.shortcut = Subsample() if shortcut == "subsample" else Projection(made, norm)
                stages[spec.stage].append(made)
                channels = made.out_channels
        stem = {"7x7": BasicStem, "3x3": ConvStem}[stem](3, base_width, norm)
        super().__init__(stem, stages, freeze_at=freeze_at)
        # Detectron2's ResNet does not know names after res5.
        self._out_features = [name for name in names if name in out_features]
        self.code = code
        counts = (*code.counts[: last + 1], 0)
        widths = [self.stem.out_channels, *(stage[-1].out_channels for stage in self.stages)]
        self.parallel = nn.ModuleList(
            ParallelStage(stage, widths[i : i + 2], counts[i], counts[i + 1], tied, norm)
            for i, stage in enumerate(self.stages)
        )
        for stage in self.parallel[: max(freeze_at - 1, 0)]:
            stage.freeze()

    @classmethod
    def from_config(cls, cfg, input_shape=None):
        return {name.lower(): value for name, value in cfg.MODEL.SPNAS.items()}

    def forward(self, x: torch.Tensor):
        """images (N, 3, H, W) -> {name of a stage: its map, (N, C, H / stride, W / stride) rounded up}"""
        x, rows, maps = self.stem(x), torch.jit.annotate(List[torch.Tensor], []), {}
        for name, stage, parallel in zip(self.stage_names, self.stages, self.parallel):
            x, rows = parallel(x, rows)
            x = stage(x)
            if name in self._out_features:
                maps[name] = x
        return maps

    def complete(self, state_dict: Dict[str, torch.Tensor], prefix: str = "") -> None:
        """
        Add to the serial network's weights, in place, what they lack: copies get their stage's weights, fusions this
        network's. ``prefix`` precedes the network's names in the state dict.
        """
        found = {}
        for name, value in self.state_dict().items():
            place = re.fullmatch(r"parallel\.(\d+)\.(rows|fuse)\.\d+\.(.*)", name)
            if place is None or prefix + name in state_dict:
                continue
            source = f"{prefix}{self.stage_names[int(place[1])]}.{place[3]}"
            if place[2] == "fuse":
                found[prefix + name] = value
            elif source in state_dict:
                found[prefix + name] = state_dict[source].clone()
        state_dict.update(found)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        self.complete(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


def make_block(kind, in_channels, planes, stride, norm):
    """Detectron2's residual block, with a projection if its channels change. UserError if it would have no channels."""
    if kind == "basic":
        return BasicBlock(in_channels, planes, stride=stride, norm=norm)
    groups, inner = 1, planes
    if kind != "bottleneck":
        groups, width = split_block(kind)
        inner = planes * width // 64 * groups
        if not inner:
            raise UserError(f'MODEL.SPNAS.BLOCK "{kind}" has no channels with {planes} planes, MODEL.SPNAS.BASE_WIDTH')
    return BottleneckBlock(
        in_channels, 4 * planes, bottleneck_channels=inner, stride=stride, num_groups=groups, norm=norm
    )


class Subsample(nn.Module):
    """(N, C, H, W) -> (N, C, H / 2, W / 2) rounded up: every second point."""

    def forward(self, x):
        return x[..., ::2, ::2]


class Projection(Conv2d):
    """Shortcut conv of stride 2 for a block that keeps its channels."""

    def __init__(self, block, norm):
        channels = block.out_channels
        super().__init__(channels, channels, kernel_size=1, stride=2, bias=False, norm=get_norm(norm, channels))
        weight_init.c2_msra_fill(self)


class ConvStem(CNNBlockBase):
    """Two 3x3 convs of stride 2 without a pool: the published networks' stem after their reignition."""

    def __init__(self, in_channels, out_channels, norm):
        super().__init__(in_channels, out_channels, 4)
        middle = out_channels // 2
        self.conv1, self.conv2 = (
            Conv2d(before, after, kernel_size=3, stride=2, padding=1, bias=False, norm=get_norm(norm, after))
            for before, after in ((in_channels, middle), (middle, out_channels))
        )
        for conv in (self.conv1, self.conv2):
            weight_init.c2_msra_fill(conv)

    def forward(self, x):
        """images (N, 3, H, W) -> (N, C, H / 4, W / 4) rounded up"""
        return F.relu_(self.conv2(F.relu_(self.conv1(x))))
