"""Translates names of weights of the released code, and finds the network that names and shapes belong to."""

import re

from detnas.errors import UserError
from detnas.modeling.weights import BODY
from detnas.space import SPACES
from detnas.zoo import SUPERNET

#: released layer of a block -> our index inside its ``main`` or ``proj``; the norm has the next index
_LAYERS = {
    "shufflenet": {"branch2a": 0, "branch2b_s": 3, "branch2b": 5},
    "xception": {"branch2a_s": 0, "branch2a": 2, "branch2b_s": 5, "branch2b": 7, "branch2c_s": 10, "branch2c": 12},
    "proj": {"proj_s": 0, "proj": 2},
}
_BLOCK = re.compile(
    r"features\.(?P<block>\d+)\.(?:(?P<choice>\d+)\.)?(?:conv\.\d+|proj_conv)\.(?P<kind>interstellar|bn)\d+[a-z]+_"
    r"(?:(?P<op>(?P<family>shufflenet|xception)_\dx\d)_)?"
    r"(?P<layer>branch2[abc](?:_s)?|proj(?:_s)?)(?P<bn>_bn)?\.(?P<what>\w+)"
)


def _fpn(match):
    """fpn_inner1, the finest level (stride 4), is Detectron2's level 2. With a norm, 0 is the conv and 1 the norm."""
    kind = {"inner": "lateral", "layer": "output"}[match[1]]
    return f"backbone.fpn_{kind}{int(match[2]) + 1}.{'norm.' if match[3] == '1' else ''}{match[4]}"


def _box_conv(match):
    """The head repeats conv, norm, ReLU 4 times."""
    index = int(match[1])
    return f"roi_heads.box_head.conv{index // 3 + 1}.{'norm.' if index % 3 == 1 else ''}{match[2]}"


#: names outside the blocks: (pattern, ours)
RENAMES = (
    (r"first_conv\.conv\.(\w+)", BODY + r"stem.0.\1"),
    (r"first_conv\.bn\.(\w+)", BODY + r"stem.1.\1"),
    (r"last_conv\.conv\.(\w+)", r"backbone.last.0.\1"),
    (r"last_conv\.bn\.(\w+)", r"backbone.last.1.\1"),
    (r"fc\.fc\.(\w+)", r"linear.\1"),
    (r"(?:backbone\.)?fpn\.fpn_(inner|layer)(\d)\.(?:([01])\.)?(\w+)", _fpn),
    (r"(?:backbone\.)?fpn\.top_blocks\.(p[67])\.(\w+)", r"backbone.top_block.\1.\2"),
    (r"roi_heads\.box\.feature_extractor\.xconvs\.(\d+)\.(\w+)", _box_conv),
    (r"roi_heads\.box\.feature_extractor\.fc6\.(\w+)", r"roi_heads.box_head.fc1.\1"),
    (r"roi_heads\.box\.predictor\.(cls_score|bbox_pred)\.(\w+)", r"roi_heads.box_predictor.\1.\2"),
)
#: the same for the heads; the released RetinaNet's has the names of an RPN
HEAD_RENAMES = {
    "classifier": (),
    "faster_rcnn": (
        (r"rpn\.head\.conv\.(\w+)", r"proposal_generator.rpn_head.conv.\1"),
        (r"rpn\.head\.cls_logits\.(\w+)", r"proposal_generator.rpn_head.objectness_logits.\1"),
        (r"rpn\.head\.bbox_pred\.(\w+)", r"proposal_generator.rpn_head.anchor_deltas.\1"),
    ),
    "retinanet": (
        (r"rpn\.head\.(cls|bbox)_tower\.(\d)\.(\w+)", r"head.\1_subnet.\2.\3"),
        (r"rpn\.head\.cls_logits\.(\w+)", r"head.cls_score.\1"),
        (r"rpn\.head\.bbox_pred\.(\w+)", r"head.bbox_pred.\1"),
    ),
}


def read_names(released):
    """Split names into blocks, {name: match}, and others, {name: name without prefix}. UserError without blocks."""
    blocks, others = {}, {}
    for key in released:
        short = re.sub(r"^backbone\.(body\.)?(?=first_conv|features|last_conv|fc\.)", "", key)
        match = _BLOCK.fullmatch(short)
        if match:
            blocks[key] = match
        else:
            others[key] = short
    if not blocks or "first_conv.conv.weight" not in others.values():
        raise UserError(
            "these are not names of the released DetNAS code: no features.*.conv.* and first_conv.conv.weight"
        )
    return blocks, others


def identify_network(released, blocks):
    """The space, by depths and widths, and the arch of a file. UserError if its blocks are of no known space."""
    supernet = {match["choice"] is not None for match in blocks.values()}
    if len(supernet) == 2:
        raise UserError("some blocks are of a supernet (features.0.0.*), some of a single network (features.0.conv.*)")
    ops, widths, starts = {}, {}, set()
    for key, match in blocks.items():
        block = int(match["block"])
        if match["op"]:
            ops.setdefault(block, {}).setdefault(int(match["choice"] or 0), set()).add(match["op"])
        if match["layer"] == "proj" and match["kind"] == "interstellar" and match["bn"] is None:
            starts.add(block)
            widths[block] = len(released[key])
    num_blocks = max(ops) + 1
    missing = sorted(set(range(num_blocks)) - set(ops))
    if missing:
        raise UserError(f"features.{missing[0]}.* is missing; the last block is features.{num_blocks - 1}")

    starts = sorted(starts)
    depths = tuple(b - a for a, b in zip(starts, starts[1:] + [num_blocks]))
    # The projection of a stage's first block keeps the width of the stage before: the stem, stage 1, 2, 3.
    inputs = tuple(widths[start] for start in starts)
    fitting = [
        s for s in SPACES.values() if s.stage_depths == depths and (s.stem_channels, *s.stage_channels)[:-1] == inputs
    ]
    if not fitting:
        depths = "-".join(map(str, depths))
        raise UserError(
            f"no known space has {num_blocks} blocks in stages of {depths} that start from {inputs} channels"
        )
    space = fitting[0]
    if True in supernet:
        for block, choices in ops.items():
            found = tuple(next(iter(choices[choice])) for choice in sorted(choices))
            if found != space.ops:
                raise UserError(f'features.{block} has the ops {found}; space "{space.name}" has {space.ops}')
        return space, SUPERNET
    several = [block for block, choices in ops.items() if len(choices[0]) > 1]
    if several:
        raise UserError(f"features.{several[0]} has several ops: {', '.join(sorted(ops[several[0]][0]))}")
    return space, space.format(space.ops.index(next(iter(ops[block][0]))) for block in range(num_blocks))


def block_name(match, space):
    """Our name of a block's tensor, or None if its op has no such layer."""
    spec = list(space.blocks())[int(match["block"])]
    choice = "" if match["choice"] is None else f".{match['choice']}"
    family = match["family"] or "proj"
    if match["layer"] not in _LAYERS[family]:
        return None
    is_norm = match["kind"] == "bn" or match["bn"] is not None
    index = _LAYERS[family][match["layer"]] + is_norm
    branch = "proj" if family == "proj" else "main"
    return f"{BODY}stage{spec.stage}.{spec.position}{choice}.{branch}.{index}.{match['what']}"


def rename(key, rules):
    """Our name of a tensor outside the blocks by the first rule that fits; None if none does."""
    for pattern, ours in rules:
        match = re.fullmatch(pattern, key)
        if match:
            return ours(match) if callable(ours) else match.expand(ours)
    return None
