"""A child's weights from its parent's weights: blocks match by id, other weights by name."""

import re
from typing import Dict

import torch

from detnas.errors import UserError

from .code import SerialCode

State = Dict[str, torch.Tensor]


def inherit(parent: SerialCode, parent_state: State, child: SerialCode, child_state: State) -> State:
    """
    The weights with which a child starts: the parent's wherever shapes agree; blocks match by id. A new block does
    nothing at first: the last norm of its branch gets weight and bias 0, and its input has passed a ReLU. So ``expand``
    and ``new_stage`` keep all maps of the parent bit for bit. A swap keeps the weights but changes the function, as
    resolutions move. The state dicts, of a :class:`spnas.SPNet` or a detector with one, are not changed. UserError if
    one does not fit its code.
    """
    of_id = dict(zip(parent.ids, _block_names(parent)))
    origin = {name: of_id.get(id) for id, name in zip(child.ids, _block_names(child))}
    _check(parent, parent_state)
    in_block = _check(child, child_state)
    state = {}
    for name, value in child_state.items():
        block = in_block.match(name)
        before = origin[block[1]] if block else None
        source = name if not block else before and f"{name[:block.start(1)]}{before}{name[block.end(1):]}"
        if source in parent_state and parent_state[source].shape == value.shape:
            value = parent_state[source]
        elif source is None and _is_last_norm(child_state, name, name[: block.end(1)]):
            value = value * 0
        state[name] = value
    return state


def _block_names(code):
    return [f"res{block.stage + 2}.{block.position}" for block in code.blocks()]


def _check(code, state):
    """Check that a state dict fits its code; returns a pattern for names of weights in blocks."""
    # A head of Detectron2 may have another res5.0. The network's blocks share the stem's prefix.
    stem = re.compile(r"(|.*\.)stem\.conv1\.weight")
    body = next((found[1] for found in map(stem.fullmatch, state) if found), None)
    in_block = re.compile(rf"{re.escape(body or '')}(res\d+\.\d+)\.")
    found = {match[1] for match in map(in_block.match, state) if match}
    if body is not None and found != set(_block_names(code)):
        raise UserError(f'the weights have {len(found)} blocks; code "{code}" has {len(code)}')
    return in_block


def _is_last_norm(state, name, block):
    """Whether this is the weight or bias of a block's last norm: the second in basic blocks, else the third."""
    last = "conv3" if f"{block}.conv3.weight" in state else "conv2"
    return name in (f"{block}.{last}.norm.weight", f"{block}.{last}.norm.bias")
