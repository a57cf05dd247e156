"""A child's weights from its parent's: blocks by their ids, everything else by name."""

import re
from typing import NamedTuple, Tuple

from detnas.errors import UserError

from .code import SerialCode


class Inheritance(NamedTuple):
    """Names of the child's weights that were copied, and that are new; and of the parent's that were dropped."""

    copied: Tuple[str, ...]
    new: Tuple[str, ...]
    dropped: Tuple[str, ...]


def inherit(parent, parent_state, child, child_state):
    """
    The weights with which a child starts. What has the same shape is copied. A new block is set to do nothing: the last
    norm of its branch gets weight and bias 0, and what enters a block has passed a ReLU. So ``expand`` and
    ``new_stage`` leave all maps of the parent as they are, bit for bit, and the new block learns. A swap keeps the
    weights, not the function: resolutions move.

    Args:
        parent, child: codes; blocks with the same id are the same.
        parent_state, child_state: state dicts of their :class:`spnas.backbone.SPNet`, or of detectors with one. They
            are not changed.

    Returns:
        the child's state dict, and an :class:`Inheritance`.

    Raises:
        UserError: if a state dict is not of its code.
    """
    of_id = dict(zip(parent.ids, _block_names(parent)))
    origin = {name: of_id.get(id) for id, name in zip(child.ids, _block_names(child))}
    _check(parent, parent_state)
    in_block = _check(child, child_state)
    state, copied, new = {}, {}, []
    for name, value in child_state.items():
        block = in_block.match(name)
        source = name
        if block:
            before = origin[block[1]]
            source = before and f"{name[:block.start(1)]}{before}{name[block.end(1):]}"
        if source in parent_state and parent_state[source].shape == value.shape:
            state[name], copied[name] = parent_state[source], source
            continue
        state[name] = value
        new.append(name)
        if block and source is None and name.startswith(_last_norm(child_state, name[: block.end(1)])):
            state[name] = value * 0 if name.endswith((".weight", ".bias")) else value
    dropped = sorted(parent_state.keys() - set(copied.values()))
    return state, Inheritance(tuple(copied), tuple(new), tuple(dropped))


def _block_names(code: SerialCode):
    return [f"res{block.stage + 2}.{block.position}" for block in code.blocks()]


def _check(code, state):
    """Compare a state dict with its code; gives the pattern of the names of weights in blocks."""
    # A detector may have another res5.0, in a head of Detectron2's; the network's stand beside its stem.
    stem = re.compile(r"(|.*\.)stem\.conv1\.weight")
    body = next((found[1] for found in map(stem.fullmatch, state) if found), None)
    in_block = re.compile(rf"{re.escape(body or '')}(res\d+\.\d+)\.")
    found = {match[1] for match in map(in_block.match, state) if match}
    if body is not None and found != set(_block_names(code)):
        raise UserError(
            f'the weights are of {len(found)} blocks and not those of code "{code}", which has {len(code)}'
        )
    return in_block


def _last_norm(state, block):
    """The last norm of a block's branch: a basic block has two, a bottleneck three."""
    return f"{block}.conv3.norm" if f"{block}.conv3.weight" in state else f"{block}.conv2.norm"
