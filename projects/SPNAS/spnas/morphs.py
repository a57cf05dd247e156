"""
What turns a code into a child: swap, expand, new stage (SP-NAS, serial phase). Pure functions; no morph changes the
number of doublings. Blocks keep their ids, new ones get new ids.
"""

from detnas.errors import UserError

from .code import MAX_BLOCKS, MAX_STAGES, SerialCode


def swap(code, boundary, shift):
    """
    Move a stage boundary against the unchanged sequence of digits: widths stay, resolutions move.

    Args:
        code: a :class:`spnas.code.SerialCode`.
        boundary: between which stages, 0 for the first two.
        shift: blocks that it moves by, to the right where positive: the stage before it grows.

    Raises:
        UserError: if there is no such boundary, or a stage would be empty.
    """
    stages = list(code.stages)
    if not 0 <= boundary < len(stages) - 1:
        raise UserError(f'code "{code}" has no boundary {boundary}; there are 0 to {len(stages) - 2}')
    both, cut = stages[boundary] + stages[boundary + 1], len(stages[boundary]) + shift
    if not 0 < cut < len(both):
        raise UserError(f'code "{code}": boundary {boundary} moved by {shift} blocks leaves an empty stage')
    stages[boundary : boundary + 2] = both[:cut], both[cut:]
    return SerialCode(tuple(stages), code.ids)


def swap_doubling(code, block, shift):
    """
    Move a doubling to another block: the blocks between change their widths, and with them the shapes of their weights.

    Args:
        block: index of a "2" in network order.
        shift: blocks that it moves by, to the right where positive.

    Raises:
        UserError: if there is no "2", or the block that is to double does so already, or is none.
    """
    digits, target = list("".join(code.stages)), block + shift
    inside = 0 <= block < len(digits) and 0 <= target < len(digits)
    if not inside or digits[block] != "2" or digits[target] != "1":
        raise UserError(f'code "{code}": the doubling of block {block} cannot move by {shift} blocks')
    digits[block], digits[target] = "1", "2"
    return SerialCode(_cut(digits, code.depths), code.ids)


def expand(code, stage, position, count=1):
    """
    Insert blocks that keep the width inside a stage; the network computes the same as before.

    Args:
        position: of the first new block in the stage, from 1: a block at a stage's head would not be exact.

    Raises:
        UserError: if that is not inside the stage, or there are too many blocks then.
    """
    digits = code.stages[stage] if 0 <= stage < len(code.stages) else ""
    if not 0 < position <= len(digits):
        raise UserError(f'code "{code}": a block at position {position} of stage {stage} is not inside it')
    stages = list(code.stages)
    stages[stage] = digits[:position] + "1" * count + digits[position:]
    before = sum(code.depths[:stage]) + position
    return SerialCode(tuple(stages), code.ids[:before] + _new_ids(code, count) + code.ids[before:])


def new_stage(code):
    """
    Append a stage of one block that keeps the width.

    Raises:
        UserError: if there are as many stages as there may be.
    """
    return SerialCode((*code.stages, "1"), code.ids + _new_ids(code, 1))


def mutate(code, weights, rng):
    """
    A random child.

    Args:
        weights: name of a morph, "swap", "swap_doubling", "expand" or "new_stage", -> how often it is drawn in relation
            to the others. One that finds no place in the code is not drawn.
        rng: a :class:`random.Random`.

    Returns:
        code; None if no morph is possible.

    Raises:
        UserError: for an unknown morph.
    """
    for name in weights:
        if name not in _DRAWS:
            raise UserError(f'unknown morph "{name}"; there are: {", ".join(_DRAWS)}')
    # In an order of its own: the same child however the weights were written down.
    draws = {name: draw(code) for name, draw in _DRAWS.items() if weights.get(name)}
    draws = {name: children for name, children in draws.items() if children}
    if not draws:
        return None
    name = rng.choices(list(draws), [weights[name] for name in draws])[0]
    return rng.choice(draws[name])


def children(code):
    """What each morph can make of a code, in a fixed order."""
    return [child for draw in _DRAWS.values() for child in draw(code)]


def _swaps(code):
    # A boundary moves by "a few blocks".
    return [
        swap(code, boundary, shift)
        for boundary, (left, right) in enumerate(zip(code.depths, code.depths[1:]))
        for shift in range(max(1 - left, -_FAR), min(right - 1, _FAR) + 1)
        if shift
    ]


def _doubling_swaps(code):
    digits = "".join(code.stages)
    return [
        swap_doubling(code, block, target - block)
        for block, digit in enumerate(digits)
        for target in range(max(block - _FAR, 0), min(block + _FAR, len(digits) - 1) + 1)
        if digit == "2" and digits[target] == "1"
    ]


def _expansions(code):
    # Where in a stage a block of the same kind is inserted is seen in no digit but a "2" behind it.
    places = ((stage, position) for stage, depth in enumerate(code.depths) for position in range(1, depth + 1))
    found = {}
    if len(code) < MAX_BLOCKS:
        for stage, position in places:
            child = expand(code, stage, position)
            found.setdefault(child, child)
    return list(found.values())


def _new_stages(code):
    return [new_stage(code)] if len(code.stages) < MAX_STAGES and len(code) < MAX_BLOCKS else []


_FAR = 3
_DRAWS = {"swap": _swaps, "swap_doubling": _doubling_swaps, "expand": _expansions, "new_stage": _new_stages}


def _new_ids(code, count):
    first = max(code.ids) + 1
    return tuple(range(first, first + count))


def _cut(digits, depths):
    stages, start = [], 0
    for depth in depths:
        stages.append("".join(digits[start : start + depth]))
        start += depth
    return tuple(stages)
