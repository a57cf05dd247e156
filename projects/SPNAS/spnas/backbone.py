"""The networks of SP-NAS, serial and parallel, as Detectron2 backbones."""

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

#: stage outputs, first stage first
FEATURES = tuple(f"res{k}" for k in range(2, 8))


class SPNet(ResNet):
    """
    The network of a code. Its weights have the names of Detectron2's ResNets: ``stem.*``, ``res2.0.conv1.*``; those of
    copies and their fusion stand in ``parallel.*``. Only the serial stream is returned. With random weights, and with
    those of its serial network, it computes what that computes, bit for bit: a weight of the fusion starts at 0.
    Weights of the serial network can be loaded as they are: copies start as the stages that they are of.

    Args:
        code: text, see :class:`spnas.code.ParallelCode`, or such a code, or a :class:`spnas.code.SerialCode`.
        block: "basic", "bottleneck" (stride on its 3x3), or "32x4d" and the like for ResNeXt's.
        base_width: channels of the stem, and planes of a block at width 1; a bottleneck puts out 4 times as many.
        stem: "7x7", a conv and a 3x3 max-pool, or "3x3", two convs; stride 4 in both.
        shortcut: of a block that halves the resolution and keeps the channels: "subsample", without parameters, so that
            a block owns the same tensors wherever it stands and a search can move it; or "projection", as in the
            published networks.
        tied: whether copies share the weights of their stage; their running statistics are their own.
        norm: one of :data:`spnas.config.NORMS`.
        out_features: which of "res2".. to return, all if empty; later stages are not built.
        freeze_at: 0 trains everything, 1 freezes the stem, 2 the first stage too, and so on.

    Raises:
        UserError: if the code is none, or a setting does not fit.
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
        # Detectron2's ResNet knows no stage after res5 by name.
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
        """images (N, 3, H, W) -> dict: name of a stage -> its map, (N, C, H / stride, W / stride) rounded up"""
        x, rows, maps = self.stem(x), torch.jit.annotate(List[torch.Tensor], []), {}
        for name, stage, parallel in zip(self.stage_names, self.stages, self.parallel):
            x, rows = parallel(x, rows)
            x = stage(x)
            if name in self._out_features:
                maps[name] = x
        return maps

    def complete(self, state_dict: Dict[str, torch.Tensor], prefix: str = "") -> None:
        """
        Add, in place, what weights of the serial network lack: copies start as the serial stages in the state dict,
        their fusion as this network has it. ``prefix`` stands before the network's names in it.
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
    """A residual block of Detectron2, with a projection where its channels change."""
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
    """(N, C, H, W) -> (N, C, H / 2, W / 2), every second point."""

    def forward(self, x):
        return x[..., ::2, ::2]


class Projection(Conv2d):
    """The shortcut conv, stride 2, of a block whose channels stay."""

    def __init__(self, block, norm):
        channels = block.out_channels
        super().__init__(channels, channels, kernel_size=1, stride=2, bias=False, norm=get_norm(norm, channels))
        weight_init.c2_msra_fill(self)


class ConvStem(CNNBlockBase):
    """Two 3x3 convs of stride 2, without a pool: the stem of the published networks after their reignition."""

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
        """images (N, 3, H, W) -> (N, C, H / 4, W / 4)"""
        return F.relu_(self.conv2(F.relu_(self.conv1(x))))
