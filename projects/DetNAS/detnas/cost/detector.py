"""Multiply-adds and parameters of a detector, part by part."""

from typing import Dict, Tuple

import torch
from detectron2.config import CfgNode
from detectron2.modeling import RetinaNet, build_backbone

from detnas.config.load import with_settings
from detnas.errors import UserError
from detnas.modeling.builders import build_network
from detnas.modeling.choices import inactive_modules

from .flops import count_flops, shapes_alone


def detector_costs(cfg: CfgNode, resolution: Tuple[int, int] = (800, 1344)) -> Dict[str, Dict[str, int]]:
    """
    Exact costs of a detector for one image of ``resolution`` (height, width) pixels, padded for the backbone: part ->
    {"flops", "params"}, in the order of a forward pass, then "whole". Raises UserError for unknown detectors.

    Box heads get ``MODEL.RPN.POST_NMS_TOPK_TEST`` proposals, mask and keypoint heads ``TEST.DETECTIONS_PER_IMAGE``
    detections, which is the maximum. A supernet runs its first path.
    """
    cfg = with_settings(cfg, {"MODEL.DEVICE": "meta"})
    with shapes_alone():
        model = build_network(cfg).eval()
        image = torch.empty(1, 3, *_padded(model.backbone, resolution))
        with count_flops(model) as flops, torch.no_grad():
            heads = list(_run_heads(cfg, model, model.backbone(image)))

    unused = {id(p) for module in inactive_modules(model) for p in module.parameters()}

    def cost(*modules):
        return {
            "flops": sum(flops[m] for module in modules for m in module.modules()),
            "params": sum(p.numel() for module in modules for p in module.parameters() if id(p) not in unused),
        }

    whole, body = cost(model), getattr(model.backbone, "bottom_up", model.backbone)
    costs = {"backbone": cost(body)}
    if body is not model.backbone:
        neck = cost(model.backbone)
        costs["neck"] = {key: neck[key] - costs["backbone"][key] for key in neck}
    costs.update({name: cost(*modules) for name, modules in heads})
    costs["whole"] = whole
    return costs


def padded_size(cfg: CfgNode, resolution: Tuple[int, int]) -> Tuple[int, int]:
    """Height and width of an image of ``resolution`` when it is padded for the backbone."""
    with shapes_alone():
        return _padded(build_backbone(cfg), resolution)


def _padded(backbone, resolution):
    divisor = max(backbone.size_divisibility, 1)
    return tuple(-(-side // divisor) * divisor for side in resolution)


def backbone_costs(cfg: CfgNode, resolution: Tuple[int, int] = (224, 224)) -> Dict[str, int]:
    """Costs of a backbone without FPN for one image (height, width): {"flops", "params"}."""
    with shapes_alone():
        backbone = build_backbone(cfg).eval()
        body = getattr(backbone, "bottom_up", backbone)
        with count_flops(body) as flops, torch.no_grad():
            body(torch.empty(1, 3, *resolution))
    return {"flops": sum(flops.values()), "params": sum(p.numel() for p in body.parameters())}


def _run_heads(cfg, model, features):
    """Run all after the backbone on empty tensors. Yields (name, modules) of each part."""
    arch = cfg.MODEL.META_ARCHITECTURE
    if arch == "ImageClassifier":
        model.linear(features["last"].mean(dim=(2, 3)))
        yield "linear layer", [model.linear]
    elif isinstance(model, RetinaNet):
        model.head([features[name] for name in model.head_in_features])
        yield "head", [model.head]
    elif arch in ("GeneralizedRCNN", "PanopticFPN"):
        rpn, proposals = model.proposal_generator, cfg.MODEL.RPN.POST_NMS_TOPK_TEST
        rpn.rpn_head([features[name] for name in rpn.in_features])
        yield "RPN", [rpn]
        if arch == "PanopticFPN":
            model.sem_seg_head.layers(features)
            yield "semantic head", [model.sem_seg_head]
        yield from _run_roi_heads(model.roi_heads, features, proposals, cfg.TEST.DETECTIONS_PER_IMAGE)
    else:
        raise UserError(
            f'costs of MODEL.META_ARCHITECTURE "{arch}" are not known; there are: ImageClassifier, RetinaNet, '
            "GeneralizedRCNN, PanopticFPN"
        )


def _run_roi_heads(heads, features, proposals, detections):
    channels = features[heads.box_in_features[0]].shape[1]

    def pooled(pooler, count):
        return torch.empty(count, channels, *pooler.output_size)

    # A cascade has one head for each stage.
    stages = heads.box_head if isinstance(heads.box_head, torch.nn.ModuleList) else [heads.box_head]
    predictors = heads.box_predictor if stages is heads.box_head else [heads.box_predictor]
    for head, predictor in zip(stages, predictors):
        predictor(head(pooled(heads.box_pooler, proposals)))
    yield f"box head, {proposals} proposals", [*stages, *predictors]
    for name in ("mask", "keypoint"):
        if getattr(heads, f"{name}_on", False):
            head = getattr(heads, f"{name}_head")
            head.layers(pooled(getattr(heads, f"{name}_pooler"), detections))
            yield f"{name} head, {detections} detections", [head]
