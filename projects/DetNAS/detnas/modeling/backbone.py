"""The networks: one path (DetNASNet), all paths at once (DetNASSupernet), and their builders for Detectron2 configs."""

from detectron2.config import configurable
from detectron2.layers import ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7
from torch import nn

from detnas.space import get_space
from detnas.zoo import PUBLISHED

from .blocks import SPLITS, ShuffleUnit, init_conv

SUPERNET = "supernet"


class DetNASNet(Backbone):
    """
    A single network: stem and stages of :class:`ShuffleUnit`, as a Detectron2 backbone.

    Args:
        space: a :class:`detnas.space.SearchSpace` or the name of one.
        path: op indices, or an arch string.
        norm: a norm of Detectron2's ``get_norm``.
        shuffle: channel split of the stride-1 blocks, "even_odd" or "interleave". Weights of one do not work with the
            other.
        out_features: which of "stage1".. to return, None for all.

    Raises:
        ValueError: if the path or the split does not fit.
    """

    @configurable
    def __init__(self, space, path, *, norm="BN", shuffle="even_odd", out_features=None):
        super().__init__()
        if isinstance(space, str):
            space = get_space(space)
        if shuffle not in SPLITS:
            raise ValueError(f'shuffle "{shuffle}"; there are: {", ".join(SPLITS)}')
        self.space = space
        self.norm, self.shuffle = norm, shuffle
        self._path = space.parse(path) if isinstance(path, str) else space.check(path)

        names = [f"stage{stage}" for stage in range(1, len(space.stage_depths) + 1)]
        if not set(out_features or ()) <= set(names):
            raise ValueError(f'out_features {list(out_features)}; space "{space.name}" has {", ".join(names)}')
        self._out_features = [name for name in names if not out_features or name in out_features]

        conv = nn.Conv2d(3, space.stem_channels, kernel_size=3, stride=2, padding=1)
        init_conv(conv)
        self.stem = nn.Sequential(conv, get_norm(norm, space.stem_channels), nn.ReLU(inplace=True))
        blocks = list(space.blocks())
        for stage, name in enumerate(names, 1):
            setattr(self, name, nn.Sequential(*(self._make_block(b) for b in blocks if b.stage == stage)))
        self._stages = names[: max(names.index(name) for name in self._out_features) + 1]

        self._out_feature_channels = dict(zip(names, space.stage_channels))
        self._out_feature_strides = {name: 2 ** (k + 2) for k, name in enumerate(names)}

    @classmethod
    def from_config(cls, cfg, input_shape=None):
        detnas = cfg.MODEL.DETNAS
        return {
            "space": get_space(detnas.SPACE),
            "path": resolve_arch(detnas.ARCH, get_space(detnas.SPACE)),
            "norm": detnas.NORM,
            "shuffle": detnas.SHUFFLE,
            "out_features": detnas.OUT_FEATURES or None,
        }

    def _make_block(self, spec):
        return ShuffleUnit(spec, self.space.ops[self._path[spec.index]], self.norm, self.shuffle)

    @property
    def path(self):
        """Op index of every block."""
        return self._path

    def forward(self, x):
        """
        Args:
            x: images (N, 3, H, W).

        Returns:
            dict of feature maps: "stage1" (N, C1, H / 4, W / 4), "stage2" (N, C2, H / 8, W / 8), ...
        """
        outputs = {}
        x = self.stem(x)
        for name in self._stages:
            x = getattr(self, name)(x)
            if name in self._out_features:
                outputs[name] = x
        return outputs

    def output_shape(self):
        return {
            name: ShapeSpec(channels=self._out_feature_channels[name], stride=self._out_feature_strides[name])
            for name in self._out_features
        }


class ChoiceBlock(nn.ModuleList):
    """All ops of one block; ``choice`` says which one runs."""

    choice = 0

    def forward(self, x):
        return self[self.choice](x)


class DetNASSupernet(DetNASNet):
    """
    All paths of a space with shared weights (paper, Sec. 3.2). It runs the path it is set to, all first ops at first:

        supernet.path = (2, 1, 2, 0, ...)

    Detectors, FPN and counters around it stay as they are. Args as of :class:`DetNASNet`, without a path.
    """

    @configurable
    def __init__(self, space, *, norm="BN", shuffle="even_odd", out_features=None):
        if isinstance(space, str):
            space = get_space(space)
        path = (0,) * space.num_blocks
        super().__init__(space=space, path=path, norm=norm, shuffle=shuffle, out_features=out_features)

    @classmethod
    def from_config(cls, cfg, input_shape=None):
        args = super().from_config(cfg, input_shape)
        del args["path"]
        return args

    def _make_block(self, spec):
        return ChoiceBlock(ShuffleUnit(spec, op, self.norm, self.shuffle) for op in self.space.ops)

    @property
    def path(self):
        """Op index of every block; setting it selects what runs.

        Raises:
            ValueError: if the path does not fit the space.
        """
        return self._path

    @path.setter
    def path(self, path):
        self._path = self.space.check(path)
        for block, op in zip(self.choice_blocks(), self._path):
            block.choice = op

    def choice_blocks(self):
        """The :class:`ChoiceBlock` of every block, in network order."""
        return [block for k in range(len(self.space.stage_depths)) for block in getattr(self, f"stage{k + 1}")]

    def unsampled_ops(self):
        """The modules that the current path leaves out."""
        return [op for block in self.choice_blocks() for i, op in enumerate(block) if i != block.choice]


def find_supernet(model):
    """The :class:`DetNASSupernet` inside a model, whatever wraps it (DDP, FPN, detector), or None."""
    return next((m for m in model.modules() if isinstance(m, DetNASSupernet)), None)


def resolve_arch(arch, space):
    """
    Path of ``MODEL.DETNAS.ARCH``: an arch or a published name. "supernet" gives the path a supernet starts with.

    Raises:
        ValueError: if it is none of these, or a network of another space.
    """
    if arch == SUPERNET:
        return (0,) * space.num_blocks
    if arch in PUBLISHED:
        network = PUBLISHED[arch]
        if network.space != space.name:
            raise ValueError(
                f'MODEL.DETNAS.ARCH "{arch}" is a network of space "{network.space}"; '
                f'MODEL.DETNAS.SPACE is "{space.name}"'
            )
        arch = network.arch
    try:
        return space.parse(arch)
    except ValueError as e:
        raise ValueError(f'MODEL.DETNAS.ARCH "{arch}": {e}') from None


def build_published(name, **kwargs):
    """
    A published network by name, with random weights. Keyword arguments go to :class:`DetNASNet`.

    Raises:
        KeyError: if there is no such network.
    """
    if name not in PUBLISHED:
        raise KeyError(f'unknown network "{name}"; there are: {", ".join(PUBLISHED)}')
    network = PUBLISHED[name]
    return DetNASNet(get_space(network.space), network.arch, **kwargs)


@BACKBONE_REGISTRY.register()
def build_detnas_backbone(cfg, input_shape=None):
    """The network that ``MODEL.DETNAS.ARCH`` names: a supernet or a single network."""
    return (DetNASSupernet if cfg.MODEL.DETNAS.ARCH == SUPERNET else DetNASNet)(cfg, input_shape)


def _fpn(cfg, input_shape, top_block):
    return FPN(
        bottom_up=build_detnas_backbone(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=top_block,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


@BACKBONE_REGISTRY.register()
def build_detnas_fpn_backbone(cfg, input_shape=None):
    """FPN for Faster R-CNN and its kin: levels p2..p5 of the stages, p6 by max-pooling."""
    return _fpn(cfg, input_shape, LastLevelMaxPool())


@BACKBONE_REGISTRY.register()
def build_detnas_retinanet_fpn_backbone(cfg, input_shape=None):
    """FPN for RetinaNet: p6 and p7 are convolved from p5, as in the released RetinaNet models."""
    channels = cfg.MODEL.FPN.OUT_CHANNELS
    return _fpn(cfg, input_shape, LastLevelP6P7(channels, channels, in_feature="p5"))
