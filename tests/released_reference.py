"""
Files as the authors' code released them, with random values, and their networks a second time, by names of weights and
description of blocks, without detnas.modeling. Shapes: images (N, 3, H, W), features (N, C, h, w).
"""

import torch
import torch.nn.functional as F

OPS = ["shufflenet_3x3", "shufflenet_5x5", "shufflenet_7x7", "xception_3x3"]
WIDTHS = {"tiny": (16, (32, 64, 96, 128), (2, 2, 2, 2), 256), "300M": (16, (64, 160, 320, 640), (4, 4, 8, 4), 1024)}


def split(x, shuffle):
    """Channels that pass a block untouched, and channels of its main branch."""
    if shuffle == "even_odd":
        return x[:, 0::2], x[:, 1::2]
    # Channels of the first and the second half in turn.
    return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2).chunk(2, 1)


class Network:
    """
    A "classifier", "faster_rcnn" or "retinanet"; a supernet if ``path`` is None. ``state`` has its weights by their
    names in the file, drawn on creation so that outputs stay near one.
    """

    def __init__(self, kind, space="tiny", path=None, classes=80):
        self.kind, self.space, self.classes, self.supernet = kind, space, classes, path is None
        self.shuffle = "interleave" if self.supernet else "even_odd"
        detector = "backbone." if self.supernet else "backbone.body."
        self.body_prefix = "" if kind == "classifier" else detector
        self.fpn_prefix = "fpn." if self.supernet else "backbone.fpn."
        self.state, self.rng = {}, torch.Generator().manual_seed(0)
        num_blocks = sum(WIDTHS[space][2])
        for p in [(choice,) * num_blocks for choice in range(4)] if self.supernet else [path]:
            self.use(torch.zeros(1, 3, 64, 64), p)

    def use(self, image, path):
        if self.kind == "classifier":
            self.logits(image, path)
            return
        level = self.levels(image, path)["p5"]
        if self.kind == "retinanet":
            self.retinanet_head(level)
            return
        self.rpn(level)
        self.box_head(torch.zeros(1, 256, 7, 7))
        self.state["rpn.anchor_generator.cell_anchors.0"] = torch.zeros(3, 4)

    def tensor(self, name, shape, scale, mean=0.0):
        if name not in self.state:
            self.state[name] = mean + scale * torch.randn(shape, generator=self.rng)
        return self.state[name]

    def conv(self, name, x, c_out, kernel=1, stride=1, groups=1, bias=True):
        c_in = x.shape[1] // groups
        weight = self.tensor(f"{name}.weight", (c_out, c_in, kernel, kernel), (1.5 / (c_in * kernel**2)) ** 0.5)
        bias = self.tensor(f"{name}.bias", (c_out,), 0.2) if bias else None
        return F.conv2d(x, weight, bias, stride, kernel // 2, groups=groups)

    def norm(self, name, x):
        drawn = {"running_mean": (0.1, 0), "running_var": (0.1, 1.2), "weight": (0.2, 1), "bias": (0.1, 0)}
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)
        return F.batch_norm(x, *(self.tensor(f"{name}.{what}", x.shape[1:2], *how) for what, how in drawn.items()))

    def linear(self, name, x, c_out):
        weight = self.tensor(f"{name}.weight", (c_out, x.shape[1]), x.shape[1] ** -0.5)
        return F.linear(x, weight, self.tensor(f"{name}.bias", (c_out,), 0.1))

    def block(self, x, block, place, c_out, choice):
        op = OPS[choice]
        here = f"{self.body_prefix}features.{block}." + (f"{choice}." if self.supernet else "")

        def depthwise(folder, name, x, kernel, stride=1):
            name, channels = f"{here}{folder}.interstellar{place}_{name}_s", x.shape[1]
            return self.norm(f"{name}_bn", self.conv(name, x, channels, kernel, stride, channels, bias=False))

        def pointwise(folder, name, x, c_out):
            x = self.conv(f"{here}{folder}.interstellar{place}_{name}", x, c_out, bias=False)
            return self.norm(f"{here}{folder}.bn{place}_{name}", x).relu()

        kernel, stride = int(op[-1]), 2 if place.endswith("a") else 1
        if stride == 1:
            other, x = split(x, self.shuffle)
        else:
            other = depthwise("proj_conv", "proj", x, kernel, stride)
            other = pointwise("proj_conv", "proj", other, x.shape[1])
        mid, out = c_out // 2, c_out - other.shape[1]
        if op.startswith("shufflenet"):
            x = pointwise("conv.0", f"{op}_branch2a", x, mid)
            x = depthwise("conv.1", f"{op}_branch2b", x, kernel, stride)
            x = pointwise("conv.1", f"{op}_branch2b", x, out)
        else:
            for group, (letter, c) in enumerate((("a", mid), ("b", mid), ("c", out))):
                x = depthwise(f"conv.{group}", f"{op}_branch2{letter}", x, 3, 1 if group else stride)
                x = pointwise(f"conv.{group}", f"{op}_branch2{letter}", x, c)
        return torch.cat([other, x], 1)

    def body(self, x, path):
        """Stage 1 to 4 -> its output."""
        stem, widths, depths, _ = WIDTHS[self.space]
        x = self.conv(f"{self.body_prefix}first_conv.conv", x, stem, 3, 2)
        x = self.norm(f"{self.body_prefix}first_conv.bn", x).relu()
        stages, block = {}, 0
        for stage, (width, depth) in enumerate(zip(widths, depths), 1):
            for letter in "abcdefgh"[:depth]:
                x = self.block(x, block, f"{stage}{letter}", width, path[block])
                block += 1
            stages[stage] = x
        return stages

    def logits(self, x, path):
        x = self.conv("last_conv.conv", self.body(x, path)[4], WIDTHS[self.space][-1])
        return self.linear("fc.fc", self.norm("last_conv.bn", x).relu().mean((2, 3)), self.classes)

    def levels(self, x, path):
        """p2..p6 of a Faster R-CNN, p3..p7 of a RetinaNet."""
        stages, retinanet = self.body(x, path), self.kind == "retinanet"

        def conv(name, x, kernel):
            name = f"{self.fpn_prefix}fpn_{name}"
            if retinanet:
                return self.conv(name, x, 256, kernel)
            return self.norm(f"{name}.1", self.conv(f"{name}.0", x, 256, kernel))

        first = 2 if retinanet else 1
        inner = {stage: conv(f"inner{stage}", stages[stage], 1) for stage in range(first, 5)}
        for stage in range(3, first - 1, -1):
            inner[stage] = inner[stage] + F.interpolate(inner[stage + 1], scale_factor=2, mode="nearest")
        levels = {f"p{stage + 1}": conv(f"layer{stage}", x, 3) for stage, x in inner.items()}
        if retinanet:
            levels["p6"] = self.conv(f"{self.fpn_prefix}top_blocks.p6", levels["p5"], 256, 3, 2)
            levels["p7"] = self.conv(f"{self.fpn_prefix}top_blocks.p7", levels["p6"].relu(), 256, 3, 2)
        else:
            levels["p6"] = F.max_pool2d(levels["p5"], 1, 2)
        return levels

    def rpn(self, feature):
        """Logits (N, 3, H, W) and offsets (N, 12, H, W) of a level (N, 256, H, W)."""
        x = self.conv("rpn.head.conv", feature, 256, 3).relu()
        return self.conv("rpn.head.cls_logits", x, 3), self.conv("rpn.head.bbox_pred", x, 12)

    def box_head(self, x):
        """Class logits (N, classes + 1) and offsets (N, 4 * (classes + 1)) of pooled boxes (N, 256, 7, 7)."""
        extractor, predictor = "roi_heads.box.feature_extractor.", "roi_heads.box.predictor."
        for k in range(4):
            x = self.conv(f"{extractor}xconvs.{3 * k}", x, 256, 3)
            x = self.norm(f"{extractor}xconvs.{3 * k + 1}", x).relu()
        x, rows = self.linear(f"{extractor}fc6", x.flatten(1), 1024).relu(), self.classes + 1
        return self.linear(f"{predictor}cls_score", x, rows), self.linear(f"{predictor}bbox_pred", x, 4 * rows)

    def retinanet_head(self, feature):
        """Class logits (N, 9 * classes, H, W) and offsets (N, 36, H, W) of a level (N, 256, H, W)."""
        outputs = []
        for tower, last, rows in (("cls_tower", "cls_logits", 9 * self.classes), ("bbox_tower", "bbox_pred", 9 * 4)):
            x = feature
            for k in range(4):
                x = self.conv(f"rpn.head.{tower}.{2 * k}", x, 256, 3).relu()
            outputs.append(self.conv(f"rpn.head.{last}", x, rows, 3))
        return outputs
