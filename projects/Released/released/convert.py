"""Converts checkpoints of the authors' code. Names and shapes tell the network; every name is used or listed."""

import re
from dataclasses import dataclass, field

import torch

from detnas.errors import UserError
from detnas.modeling.backbone import SHUFFLE_KEY
from detnas.modeling.blocks import SHUFFLES
from detnas.modeling.weights import BODY
from detnas.zoo import SUPERNET

from .boxes import RELEASED_KEY
from .names import HEAD_RENAMES, RENAMES, block_name, identify_network, read_names, rename

#: factors of the released RetinaNet's box offsets, x, y, width, height; our configs have 1
_BOX_CODE = (10.0, 10.0, 5.0, 5.0)


@dataclass
class Released:
    """
    A converted file.

    Args:
        kind: "classifier", "faster_rcnn" or "retinanet".
        arch: "supernet", or the arch of a single network.
        shuffle: the channel split of its weights.
        num_classes: without the background.
        state: the weights, for ``MODEL.WEIGHTS``.
        unused: names of the file without a place in the model.
        changes: what was done to values, in words.
    """

    kind: str
    space: str
    arch: str
    shuffle: str
    num_classes: int = 0
    state: dict = field(default_factory=dict)
    unused: list = field(default_factory=list)
    changes: list = field(default_factory=list)


def from_released(released, shuffle=None):
    """
    Convert a state dict to a :class:`Released`. Names that it lacks show when it is loaded into the model.

    Args:
        released: name -> tensor; names without ``module.`` in front.
        shuffle: the channel split; None takes "even_odd" for single networks, "interleave" for supernets.

    Raises:
        UserError: for an unknown shuffle, names of no released file, blocks of no known space, a head of a wrong shape.
    """
    if shuffle not in (None, *SHUFFLES):
        raise UserError(f'shuffle "{shuffle}"; there are: {", ".join(SHUFFLES)}')
    blocks, others = read_names(released)
    space, arch = identify_network(released, blocks)
    retinanet = any(key.startswith("rpn.head.cls_tower.") for key in others)
    detector = any(key.startswith("rpn.") for key in others)
    result = Released(
        kind="retinanet" if retinanet else "faster_rcnn" if detector else "classifier",
        space=space.name,
        arch=arch,
        shuffle=shuffle or ("interleave" if arch == SUPERNET else "even_odd"),
    )
    names = {key: block_name(match, space) for key, match in blocks.items()}
    rules = (*RENAMES, *HEAD_RENAMES[result.kind])
    names.update({key: rename(short, rules) for key, short in others.items()})
    for key, ours in names.items():
        if ours is None:
            result.unused.append(key)
        elif ours in result.state:
            raise UserError(f"{key} and another name of the file are the same tensor, {ours}")
        else:
            result.state[ours] = released[key]

    _fold_biases(result)
    {"classifier": _count_classes, "faster_rcnn": _move_background, "retinanet": _convert_anchors}[result.kind](result)
    anchors = {"faster_rcnn": "proposal_generator.anchor_generator", "retinanet": "anchor_generator"}.get(result.kind)
    if anchors:
        result.state[f"{anchors}.{RELEASED_KEY}"] = torch.ones((), dtype=torch.uint8)
    result.state[BODY + SHUFFLE_KEY] = torch.tensor(list(SHUFFLES).index(result.shuffle), dtype=torch.uint8)
    return result


def _fold_biases(result):
    """Subtract each conv bias from the mean of the norm after it: Detectron2's convs before a norm have no bias."""
    state, folded = result.state, []
    for key in [key for key in state if re.search(r"(fpn_\w+\d|box_head\.conv\d)\.bias$", key)]:
        mean = key.replace(".bias", ".norm.running_mean")
        if mean in state:
            state[mean] = state[mean] - state.pop(key)
            folded.append(key)
    if folded:
        result.changes.append(f"{len(folded)} conv biases before a norm went into its running mean ({folded[0]}, ...)")


def _count_classes(result):
    if "linear.weight" in result.state:
        result.num_classes = len(result.state["linear.weight"])


def _move_background(result):
    """Move the background from class 0 to the end, where Detectron2 has it, and drop its box."""
    scores, boxes = "roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"
    for what in ("weight", "bias"):
        score, box = result.state.get(f"{scores}.{what}"), result.state.get(f"{boxes}.{what}")
        if score is None or box is None:
            raise UserError(f"roi_heads.box.predictor.{{cls_score,bbox_pred}}.{what}: one of them is missing")
        if len(box) != 4 * len(score):
            raise UserError(
                f"roi_heads.box.predictor.bbox_pred.{what} has {len(box)} rows; 4 for each of the {len(score)} of "
                "cls_score were expected"
            )
        result.state[f"{scores}.{what}"] = torch.cat([score[1:], score[:1]])
        result.state[f"{boxes}.{what}"] = box[4:]
        result.num_classes = len(score) - 1
    result.changes.append("the background moved from the first class to the last; its box regression was dropped")


def _convert_anchors(result, sizes=3, ratios=3):
    """Reorder the anchors of a place from (ratios, sizes) to (sizes, ratios); divide box offsets by their factors."""
    for name in ("cls_score", "bbox_pred"):
        for what in ("weight", "bias"):
            key = f"head.{name}.{what}"
            value = result.state.get(key)
            rows = 0 if value is None else len(value)
            if not rows or rows % (sizes * ratios) or (name == "bbox_pred" and rows != 4 * sizes * ratios):
                found = "is missing" if value is None else f"has {rows} rows"
                raise UserError(f"{key} {found}; {sizes} sizes and {ratios} ratios of anchors were expected")
            per_anchor = rows // (sizes * ratios)
            grid = value.reshape(ratios, sizes, per_anchor, *value.shape[1:]).transpose(0, 1)
            if name == "cls_score":
                result.num_classes = per_anchor
            else:
                grid = grid / value.new_tensor(_BOX_CODE).view(4, *[1] * (value.dim() - 1))
            result.state[key] = grid.reshape(value.shape).contiguous()
    result.changes.append("the anchors of a place were put into Detectron2's order: sizes, then ratios")
    result.changes.append("box offsets were divided by 10, 10, 5 and 5, the factors of their code")
