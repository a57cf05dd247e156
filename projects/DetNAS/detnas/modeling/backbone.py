"""Networks: one path (DetNASNet) or all (DetNASSupernet). N images of H x W pixels, Ck channels in stage k."""

from typing import Any, Dict, List, Optional, Sequence, Union

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import FrozenBatchNorm2d, get_norm
from detectron2.modeling import Backbone
from torch import nn

from detnas.choices import Candidate
from detnas.config.keys import config_space
from detnas.errors import UserError
from detnas.space import SearchSpace, get_space
from detnas.zoo import resolve_arch

from .blocks import NORMS, SHUFFLES, ShuffleUnit, init_conv
from .choices import ChoiceBlock

#: buffer with the channel split of the weights, as an index into SHUFFLES
SHUFFLE_KEY = "split"


class DetNASNet(Backbone):
    """
    A single network as a Detectron2 backbone: a stem and stages of :class:`ShuffleUnit`. Raises UserError for wrong
    arguments, and on loading weights of another channel split.

    Args:
        space, path: a space or its name; op indices or an arch.
        norm: one of :data:`detnas.modeling.blocks.NORMS`.
        shuffle: channel split of stride-1 blocks, "even_odd" or "interleave". Weights fit only one of them.
        out_features: names of the stages to return, "stage1" and so on; None for all.
        freeze_at: 0 trains everything, 1 freezes the stem, 2 the first stage too, and so on.
    """

    @configurable
    def __init__(self, space: Union[SearchSpace, str], path: Union[Sequence[int], str], *, norm: str = "BN",
                 shuffle: str = "even_odd", out_features: Optional[Sequence[str]] = None, freeze_at: int = 0):
        super().__init__()
        if isinstance(space, str):
            space = get_space(space)
        if shuffle not in SHUFFLES:
            raise UserError(f'shuffle "{shuffle}"; there are: {", ".join(SHUFFLES)}')
        if isinstance(norm, str) and norm not in NORMS:
            raise UserError(f'norm "{norm}"; there are: {", ".join(NORMS)}')
        self.space = space
        self.norm, self.shuffle = norm, shuffle
        self._path = space.parse(path) if isinstance(path, str) else space.check(path)

        names = [f"stage{stage}" for stage in range(1, len(space.stage_depths) + 1)]
        if out_features and not set(out_features) <= set(names):
            raise UserError(f'out_features {list(out_features)}; space "{space.name}" has {", ".join(names)}')
        self._out_features = [name for name in names if not out_features or name in out_features]

        conv = nn.Conv2d(3, space.stem_channels, kernel_size=3, stride=2, padding=1)
        init_conv(conv)
        self.stem = nn.Sequential(conv, get_norm(norm, space.stem_channels), nn.ReLU(inplace=True))
        blocks = list(space.blocks())
        for stage, name in enumerate(names, 1):
            setattr(self, name, nn.Sequential(*(self._make_block(b) for b in blocks if b.stage == stage)))
        self._stages = names[: max(names.index(name) for name in self._out_features) + 1]

        self._out_feature_channels = dict(zip(names, space.stage_channels))  # for Detectron2's output_shape()
        self._out_feature_strides = {name: 2 ** (k + 2) for k, name in enumerate(names)}

        # A buffer is in every checkpoint, whoever writes or reads it.
        self.register_buffer(SHUFFLE_KEY, torch.tensor(list(SHUFFLES).index(shuffle), dtype=torch.uint8))
        self.freeze(freeze_at)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape=None) -> Dict[str, Any]:
        detnas, space = cfg.MODEL.DETNAS, config_space(cfg)
        return {"space": space, "path": resolve_arch(detnas.ARCH, space), "norm": detnas.NORM,
                "shuffle": detnas.SHUFFLE, "out_features": detnas.OUT_FEATURES or None, "freeze_at": detnas.FREEZE_AT}

    def freeze(self, freeze_at: int) -> None:
        """Freeze weights and norm statistics: 0 nothing, k the stem and k - 1 stages. UserError if there are fewer."""
        parts = ["stem", *self._out_feature_strides]
        if not 0 <= freeze_at <= len(parts):
            raise UserError(f'freeze_at {freeze_at}; space "{self.space.name}" has 0 to {len(parts)}')
        for name in parts[:freeze_at]:
            part = FrozenBatchNorm2d.convert_frozen_batchnorm(getattr(self, name))
            setattr(self, name, part.requires_grad_(False))

    def _load_from_state_dict(self, state_dict, prefix, *args):
        split = state_dict.setdefault(prefix + SHUFFLE_KEY, self.split)
        if int(split) != int(self.split):
            theirs, ours = list(SHUFFLES)[int(split)], self.shuffle
            raise UserError(
                f'the weights are for the channel split "{theirs}" and the model has "{ours}": set '
                f'MODEL.DETNAS.SHUFFLE "{theirs}"'
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _make_block(self, spec):
        return ShuffleUnit(spec, self.space.ops[self._path[spec.index]], self.norm, self.shuffle)

    @property
    def path(self) -> Candidate:
        """Op index of every block."""
        return self._path

    def forward(self, x: torch.Tensor) -> Dict[str, torch.Tensor]:
        """(N, 3, H, W) -> {"stage1": (N, C1, H / 4, W / 4), "stage2": (N, C2, H / 8, W / 8), ...}"""
        outputs = {}
        x = self.stem(x)
        for name in self._stages:
            x = getattr(self, name)(x)
            if name in self._out_features:
                outputs[name] = x
        return outputs


class DetNASSupernet(DetNASNet):
    """
    All paths of a space with shared weights (paper, Sec. 3.2). Arguments as for :class:`DetNASNet`, without a path. The
    first op of each block runs until ``activate(model, space, path)``; ``model`` may be a detector with this backbone.
    """

    @configurable
    def __init__(self, space: Union[SearchSpace, str], **settings):
        if isinstance(space, str):
            space = get_space(space)
        super().__init__(space=space, path=(0,) * space.num_blocks, **settings)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape=None) -> Dict[str, Any]:
        args = super().from_config(cfg, input_shape)
        del args["path"]
        return args

    def _make_block(self, spec):
        ops = (ShuffleUnit(spec, op, self.norm, self.shuffle) for op in self.space.ops)
        return ChoiceBlock(self.space.choices[spec.index], ops)

    @property
    def path(self) -> Candidate:
        """Active op index of every block."""
        return tuple(block.choice for block in self.choice_blocks())

    def choice_blocks(self) -> List[ChoiceBlock]:
        """All choice blocks, in network order."""
        return [block for name in self._out_feature_strides for block in getattr(self, name)]
