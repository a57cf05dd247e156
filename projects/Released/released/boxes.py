"""
Detectors that place, pool and clip boxes as the released code does. Boxes there end at their last pixel, so right and
lower edges are one less than in Detectron2. Shapes: N boxes (x0, y0, x1, y1), images of H x W pixels.
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

from .config import add_released_config  # noqa: F401  so that whoever adds the keys registers the detectors

#: name of a buffer of these models and weights: a model without it would misplace boxes, and refuses the weights
RELEASED_KEY = "needs_the_settings_that_convert_released_prints"


@ANCHOR_GENERATOR_REGISTRY.register()
class ReleasedAnchorGenerator(DefaultAnchorGenerator):
    """Anchors around the middle of a cell. Sides are rounded at the cell's size, then multiplied by size / stride."""

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
    """Pools up to the last pixel of a box. ``MODEL.ROI_BOX_HEAD`` needs POOLER_TYPE ROIAlign and a sampling of 2."""

    @classmethod
    def _init_box_head(cls, cfg, input_shape):
        made = super()._init_box_head(cfg, input_shape)
        poolers = made["box_pooler"].level_poolers
        made["box_pooler"].level_poolers = nn.ModuleList(
            _ReleasedROIAlign(p.output_size, p.spatial_scale, p.sampling_ratio, p.aligned) for p in poolers
        )
        return made


def _clip_to_pixels(boxes, image_size):
    """Clip boxes (N, 4) to the image (H, W). A box outside stays at the edge, one pixel wide."""
    height, width = image_size
    last = boxes.new_tensor([width - 1, height - 1, width, height])
    first = boxes.new_tensor([0, 0, 1, 1])
    return torch.minimum(torch.maximum(boxes, first), last)


@PROPOSAL_GENERATOR_REGISTRY.register()
class ReleasedRPN(RPN):
    """Keeps proposals outside the image at the edge, one pixel wide; Detectron2 drops them."""

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
    """Clips boxes to the image before non-maximum suppression; Detectron2 clips at the very end."""

    def _decode_multi_level_predictions(self, *args):
        found = super()._decode_multi_level_predictions(*args)
        found.pred_boxes.tensor = _clip_to_pixels(found.pred_boxes.tensor, found.image_size)
        return found
