"""
How the detectors of the released code place, pool and clip boxes, where Detectron2 does otherwise. Their boxes hold the
last pixel, so that their right and lower edges are one less than ours.
"""

import math

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling import ANCHOR_GENERATOR_REGISTRY, META_ARCH_REGISTRY, ROI_HEADS_REGISTRY, RetinaNet
from detectron2.modeling.anchor_generator import BufferList, DefaultAnchorGenerator
from detectron2.modeling.proposal_generator import PROPOSAL_GENERATOR_REGISTRY, RPN
from detectron2.modeling.proposal_generator.proposal_utils import find_top_rpn_proposals
from detectron2.modeling.roi_heads import StandardROIHeads
from torch import nn

from .config import add_released_config  # noqa: F401  who adds the keys gets the detectors

#: Name of a buffer of such a model and its weights. A model without it, which would misplace boxes, refuses the weights
#: and names this buffer.
RELEASED_KEY = "needs_the_settings_that_convert_released_prints"


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


def _clip_to_pixels(boxes, image_size):
    """Boxes (N, 4) within the image (H, W); one outside stays at its edge, a pixel wide."""
    height, width = image_size
    last = boxes.new_tensor([width - 1, height - 1, width, height])
    first = boxes.new_tensor([0, 0, 1, 1])
    return torch.minimum(torch.maximum(boxes, first), last)


@PROPOSAL_GENERATOR_REGISTRY.register()
class ReleasedRPN(RPN):
    """Keeps proposals outside the image as a pixel at its edge; Detectron2 drops them."""

    def predict_proposals(self, anchors, pred_objectness_logits, pred_anchor_deltas, image_sizes):
        with torch.no_grad():
            levels = self._decode_proposals(anchors, pred_anchor_deltas)
            proposals = [
                torch.stack([_clip_to_pixels(boxes, size) for boxes, size in zip(level, image_sizes)])
                for level in levels
            ]
            return find_top_rpn_proposals(
                proposals,
                pred_objectness_logits,
                image_sizes,
                self.nms_thresh,
                self.pre_nms_topk[self.training],
                self.post_nms_topk[self.training],
                self.min_box_size,
                self.training,
            )


@META_ARCH_REGISTRY.register()
class ReleasedRetinaNet(RetinaNet):
    """Clips boxes to the image before the suppression of overlapping ones; Detectron2 does so at the very end."""

    def _decode_multi_level_predictions(self, *args):
        found = super()._decode_multi_level_predictions(*args)
        found.pred_boxes.tensor = _clip_to_pixels(found.pred_boxes.tensor, found.image_size)
        return found
