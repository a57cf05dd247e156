"""
Files as the authors' code released them, with random values, and the networks in them computed a second time: written
from the table of names and the description of the blocks, with nothing of detnas.modeling.
"""

import torch
import torch.nn.functional as F

OPS = ["shufflenet_3x3", "shufflenet_5x5", "shufflenet_7x7", "xception_3x3"]
WIDTHS = {"tiny": (16, (32, 64, 96, 128), (2, 2, 2, 2), 256), "300M": (16, (64, 160, 320, 640), (4, 4, 8, 4), 1024)}


class Builder:
    """Collects named random tensors whose outputs stay near one."""

    def __init__(self, seed=0):
        self.state, self.rng = {}, torch.Generator().manual_seed(seed)

    def random(self, *shape):
        return torch.randn(*shape, generator=self.rng)

    def conv(self, name, c_out, c_in, kernel, bias=False):
        self.state[f"{name}.weight"] = self.random(c_out, c_in, kernel, kernel) * (1.5 / (c_in * kernel**2)) ** 0.5
        if bias:
            self.state[f"{name}.bias"] = self.random(c_out) * 0.2

    def norm(self, name, channels):
        self.state[f"{name}.weight"] = 1 + 0.2 * self.random(channels)
        self.state[f"{name}.bias"] = 0.1 * self.random(channels)
        self.state[f"{name}.running_mean"] = 0.1 * self.random(channels)
        self.state[f"{name}.running_var"] = 1 + 0.2 * self.random(channels).abs()
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def linear(self, name, c_out, c_in):
        self.state[f"{name}.weight"] = self.random(c_out, c_in) / c_in**0.5
        self.state[f"{name}.bias"] = 0.1 * self.random(c_out)


def places(space):
    """(block, place such as 1a, c_in, c_out, stride) of every block."""
    channels, widths, depths, _ = WIDTHS[space]
    block = 0
    for stage, (width, depth) in enumerate(zip(widths, depths), 1):
        for position in range(depth):
            yield block, f"{stage}{'abcdefgh'[position]}", channels, width, 1 if position else 2
            block, channels = block + 1, width


def layers(op, c_in, c_out, stride):
    """(number of the conv group, released name, c_out, c_in / groups, kernel) of a block's main branch."""
    if stride == 1:
        c_in = c_in // 2
    mid, out, k = c_out // 2, c_out - c_in, int(op[-1])
    if op.startswith("shufflenet"):
        return [(0, "branch2a", mid, c_in, 1), (1, "branch2b_s", mid, 1, k), (1, "branch2b", out, mid, 1)]
    return [
        *((0, "branch2a_s", c_in, 1, 3), (0, "branch2a", mid, c_in, 1)),
        *((1, "branch2b_s", mid, 1, 3), (1, "branch2b", mid, mid, 1)),
        *((2, "branch2c_s", mid, 1, 3), (2, "branch2c", out, mid, 1)),
    ]


def add_body(builder, prefix, space, path):
    """Stem and blocks; a path of None is a supernet."""
    stem = WIDTHS[space][0]
    builder.conv(f"{prefix}first_conv.conv", stem, 3, 3, bias=True)
    builder.norm(f"{prefix}first_conv.bn", stem)
    for block, place, c_in, c_out, stride in places(space):
        for choice in range(4) if path is None else [path[block]]:
            op = OPS[choice]
            here = f"{prefix}features.{block}." + (f"{choice}." if path is None else "")
            for group, name, out, into, kernel in layers(op, c_in, c_out, stride):
                conv = f"{here}conv.{group}.interstellar{place}_{op}_{name}"
                builder.conv(conv, out, into, kernel)
                builder.norm(f"{conv}_bn" if name.endswith("_s") else f"{here}conv.{group}.bn{place}_{op}_{name}", out)
            if stride == 2:
                proj = f"{here}proj_conv.interstellar{place}_proj"
                builder.conv(f"{proj}_s", c_in, 1, int(op[-1]))
                builder.norm(f"{proj}_s_bn", c_in)
                builder.conv(proj, c_in, c_in, 1)
                builder.norm(f"{here}proj_conv.bn{place}_proj", c_in)


def classifier(space="tiny", path=None, classes=10):
    builder = Builder()
    add_body(builder, "", space, path)
    _, widths, _, last = WIDTHS[space]
    builder.conv("last_conv.conv", last, widths[-1], 1, bias=True)
    builder.norm("last_conv.bn", last)
    builder.linear("fc.fc", classes, last)
    return builder.state


def add_backbone(builder, space, path):
    """The body of a detector; the prefix of its FPN."""
    add_body(builder, "backbone." if path is None else "backbone.body.", space, path)
    return "fpn." if path is None else "backbone.fpn."


def faster_rcnn(space="tiny", path=None, classes=80):
    builder = Builder()
    fpn = add_backbone(builder, space, path)
    for level, width in enumerate(WIDTHS[space][1], 1):
        for kind, into, kernel in (("inner", width, 1), ("layer", 256, 3)):
            builder.conv(f"{fpn}fpn_{kind}{level}.0", 256, into, kernel, bias=True)
            builder.norm(f"{fpn}fpn_{kind}{level}.1", 256)
    builder.conv("rpn.head.conv", 256, 256, 3, bias=True)
    builder.conv("rpn.head.cls_logits", 3, 256, 1, bias=True)
    builder.conv("rpn.head.bbox_pred", 12, 256, 1, bias=True)
    extractor, predictor = "roi_heads.box.feature_extractor.", "roi_heads.box.predictor."
    for k in range(4):
        builder.conv(f"{extractor}xconvs.{3 * k}", 256, 256, 3, bias=True)
        builder.norm(f"{extractor}xconvs.{3 * k + 1}", 256)
    builder.linear(f"{extractor}fc6", 1024, 256 * 49)
    builder.linear(f"{predictor}cls_score", classes + 1, 1024)
    builder.linear(f"{predictor}bbox_pred", 4 * (classes + 1), 1024)
    builder.state["rpn.anchor_generator.cell_anchors.0"] = torch.zeros(3, 4)
    return builder.state


def retinanet(space="tiny", path=None, classes=80):
    builder = Builder()
    fpn = add_backbone(builder, space, path)
    for level, width in list(enumerate(WIDTHS[space][1], 1))[1:]:
        builder.conv(f"{fpn}fpn_inner{level}", 256, width, 1, bias=True)
        builder.conv(f"{fpn}fpn_layer{level}", 256, 256, 3, bias=True)
    for level in ("p6", "p7"):
        builder.conv(f"{fpn}top_blocks.{level}", 256, 256, 3, bias=True)
    for tower in ("cls_tower", "bbox_tower"):
        for k in range(4):
            builder.conv(f"rpn.head.{tower}.{2 * k}", 256, 256, 3, bias=True)
    builder.conv("rpn.head.cls_logits", 9 * classes, 256, 3, bias=True)
    builder.conv("rpn.head.bbox_pred", 9 * 4, 256, 3, bias=True)
    return builder.state


def conv(state, name, x, stride=1):
    weight = state[f"{name}.weight"]
    groups = x.shape[1] if weight.shape[1] == 1 else 1
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, weight.shape[-1] // 2, groups=groups)


def norm(state, name, x):
    mean, var, weight, bias = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias)


def linear(state, name, x):
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def split(x, shuffle):
    """What passes a block untouched, and what goes to its main branch."""
    if shuffle == "even_odd":
        return x[:, 0::2], x[:, 1::2]
    # A channel of the first half and one of the second in turn.
    return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2).chunk(2, 1)


def run_body(state, prefix, space, path, shuffle, x):
    """Outputs of the four stages."""
    supernet = any(f"{prefix}features.0.0." in name for name in state)
    x = norm(state, f"{prefix}first_conv.bn", conv(state, f"{prefix}first_conv.conv", x, 2)).relu()
    stages = {}
    for block, place, c_in, c_out, stride in places(space):
        op = OPS[path[block]]
        here = f"{prefix}features.{block}." + (f"{path[block]}." if supernet else "")
        if stride == 1:
            other, y = split(x, shuffle)
        else:
            proj = f"{here}proj_conv.interstellar{place}_proj"
            other = norm(state, f"{proj}_s_bn", conv(state, f"{proj}_s", x, 2))
            other = norm(state, f"{here}proj_conv.bn{place}_proj", conv(state, proj, other)).relu()
            y = x
        strided = False
        for group, name, *_ in layers(op, c_in, c_out, stride):
            layer = f"{here}conv.{group}.interstellar{place}_{op}_{name}"
            depthwise = name.endswith("_s")
            # The first depthwise conv takes the stride.
            y = conv(state, layer, y, stride if depthwise and not strided else 1)
            strided |= depthwise
            y = norm(state, f"{layer}_bn" if depthwise else f"{here}conv.{group}.bn{place}_{op}_{name}", y)
            # Xception: a ReLU behind every pair; ShuffleNet: behind the first 1x1 conv; both: at the end.
            if not depthwise:
                y = y.relu()
        x = torch.cat([other, y], 1)
        stages[int(place[0])] = x
    return stages


def run_fpn(state, stages, prefix):
    """p2..p5 of a Faster R-CNN, p3..p5 of a RetinaNet."""
    levels = [level for level in (1, 2, 3, 4) if any(f"fpn_inner{level}." in name for name in state)]
    outputs, above = {}, None

    def block(kind, level, x):
        name = f"{prefix}fpn_{kind}{level}"
        if f"{name}.weight" in state:
            return conv(state, name, x)
        return norm(state, f"{name}.1", conv(state, f"{name}.0", x))

    for level in reversed(levels):
        lateral = block("inner", level, stages[level])
        above = lateral if above is None else lateral + F.interpolate(above, scale_factor=2, mode="nearest")
        outputs[f"p{level + 1}"] = block("layer", level, above)
    return outputs


def run_box_head(state, x):
    """Class logits (N, classes + 1) and offsets (N, 4 * (classes + 1)) of pooled boxes (N, 256, 7, 7)."""
    extractor, predictor = "roi_heads.box.feature_extractor.", "roi_heads.box.predictor."
    for k in range(4):
        x = norm(state, f"{extractor}xconvs.{3 * k + 1}", conv(state, f"{extractor}xconvs.{3 * k}", x)).relu()
    x = linear(state, f"{extractor}fc6", x.flatten(1)).relu()
    return linear(state, f"{predictor}cls_score", x), linear(state, f"{predictor}bbox_pred", x)


def run_retinanet_head(state, feature):
    """Class logits and offsets of a level (N, 256, H, W)."""
    outputs = []
    for tower, last in (("cls_tower", "cls_logits"), ("bbox_tower", "bbox_pred")):
        x = feature
        for k in range(4):
            x = conv(state, f"rpn.head.{tower}.{2 * k}", x).relu()
        outputs.append(conv(state, f"rpn.head.{last}", x))
    return outputs
