"""A child's weights from its parent's: blocks by their ids, everything else by name."""

import re
from typing import Dict

import torch

from detnas.errors import UserError

from .code import SerialCode

State = Dict[str, torch.Tensor]


def inherit(parent: SerialCode, parent_state: State, child: SerialCode, child_state: State) -> State:
    """
    The weights with which a child starts. What has the same shape is the parent's. A new block is set to do nothing:
    the last norm of its branch gets weight and bias 0, and what enters a block has passed a ReLU. So ``expand`` and
    ``new_stage`` leave all maps of the parent as they are, bit for bit, and the new block learns. A swap keeps the
    weights, not the function: resolutions move.

    Args:
        parent, child: codes; blocks with the same id are the same.
        parent_state, child_state: state dicts of their :class:`spnas.SPNet`, or of detectors with one; not changed.

    Raises:
        UserError: if a state dict is not of its code.
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
    """Compare a state dict with its code; gives the pattern of the names of weights in blocks."""
    # A detector may have another res5.0, in a head of Detectron2's; the network's stand beside its stem.
    stem = re.compile(r"(|.*\.)stem\.conv1\.weight")
    body = next((found[1] for found in map(stem.fullmatch, state) if found), None)
    in_block = re.compile(rf"{re.escape(body or '')}(res\d+\.\d+)\.")
    found = {match[1] for match in map(in_block.match, state) if match}
    if body is not None and found != set(_block_names(code)):
        raise UserError(f'the weights are of {len(found)} blocks and not those of code "{code}", which has {len(code)}')
    return in_block


def _is_last_norm(state, name, block):
    """Whether a name is that of the weight or bias of the last norm of a block: basic ones have two, others three."""
    last = "conv3" if f"{block}.conv3.weight" in state else "conv2"
    return name in (f"{block}.{last}.norm.weight", f"{block}.{last}.norm.bias")
