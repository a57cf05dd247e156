"""
How the detectors of the released code place, pool and clip boxes, where Detectron2 does otherwise. Their boxes hold the
last pixel, so that their right and lower edges are one less than ours.
"""

import math

import torch
from detectron2.layers import ROIAlign
from detectron2.modeling import ANCHOR_GENERATOR_REGISTRY, META_ARCH_REGISTRY, ROI_HEADS_REGISTRY, RetinaNet
from detectron2.modeling.anchor_generator import BufferList, DefaultAnchorGenerator
from detectron2.modeling.roi_heads import StandardROIHeads
from torch import nn

#: name of the buffer that tells a model with these anchors, and weights that want them
RELEASED_KEY = "of_released_code"


@ANCHOR_GENERATOR_REGISTRY.register()
class ReleasedAnchorGenerator(DefaultAnchorGenerator):
    """
    Anchors around the middle of each cell, whatever ``MODEL.ANCHOR_GENERATOR.OFFSET`` says. Width and height of a ratio
    are rounded to whole pixels for an anchor of the size of a cell, and then multiplied by size / stride.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer(RELEASED_KEY, torch.ones((), dtype=torch.uint8))

    @classmethod
    def from_config(cls, cfg, input_shape):
        return {**super().from_config(cfg, input_shape), "offset": 0.5}

    def _calculate_anchors(self, sizes, aspect_ratios):
        return BufferList([torch.tensor(self._cell(*level)) for level in zip(self.strides, sizes, aspect_ratios)])

    @staticmethod
    def _cell(stride, sizes, aspect_ratios):
        shapes = []
        for size in sizes:
            for ratio in aspect_ratios:
                width = round(math.sqrt(stride**2 / ratio))
                shapes.append([edge * size / stride / 2 for edge in (width, round(width * ratio))])
        return [[-x, -y, x, y] for x, y in shapes]


class _ReleasedROIAlign(ROIAlign):
    """Pools up to the last pixel of a box."""

    def forward(self, input, rois):
        return super().forward(input, rois - rois.new_tensor([0, 0, 0, 1, 1]))


@ROI_HEADS_REGISTRY.register()
class ReleasedROIHeads(StandardROIHeads):
    """Pools up to the last pixel of a box; wants ``MODEL.ROI_BOX_HEAD`` with POOLER_TYPE ROIAlign, a sampling of 2."""

    @classmethod
    def _init_box_head(cls, cfg, input_shape):
        made = super()._init_box_head(cfg, input_shape)
        poolers = made["box_pooler"].level_poolers
        made["box_pooler"].level_poolers = nn.ModuleList(
            _ReleasedROIAlign(p.output_size, p.spatial_scale, p.sampling_ratio, p.aligned) for p in poolers
        )
        return made


@META_ARCH_REGISTRY.register()
class ReleasedRetinaNet(RetinaNet):
    """Clips boxes to the image before the suppression of overlapping ones; Detectron2 does so at the very end."""

    def _decode_multi_level_predictions(self, *args):
        found = super()._decode_multi_level_predictions(*args)
        found.pred_boxes.clip(found.image_size)
        return found
