"""
What turns a code into a child: swap, expand, new stage (SP-NAS, serial phase). Pure functions; no morph changes the
number of doublings. Blocks keep their ids, new ones get new ids.
"""

import random
from typing import List, Mapping, Optional

from .code import MAX_BLOCKS, MAX_STAGES, SerialCode

#: blocks that a boundary or a doubling moves by at most: "a few"
_FAR = 3


def swap(code: SerialCode, boundary: int, shift: int) -> SerialCode:
    """
    Move a stage boundary against the unchanged sequence of digits: widths stay, resolutions move.

    Args:
        boundary: between which stages, 0 for the first two.
        shift: blocks that it moves by, to the right where positive: the stage before it grows. No stage may be empty.
    """
    stages = list(code.stages)
    both, cut = stages[boundary] + stages[boundary + 1], len(stages[boundary]) + shift
    assert 0 < cut < len(both)
    stages[boundary : boundary + 2] = both[:cut], both[cut:]
    return SerialCode(tuple(stages), code.ids)


def swap_doubling(code: SerialCode, block: int, shift: int) -> SerialCode:
    """
    Move a doubling to another block: the blocks between change their widths, and with them the shapes of their weights.

    Args:
        block: index of a "2" in network order.
        shift: blocks that it moves by, to the right where positive; a "1" must stand there.
    """
    text = list(str(code))
    places = [place for place, digit in enumerate(text) if digit != "-"]
    before, after = places[block], places[block + shift]
    assert (text[before], text[after]) == ("2", "1")
    text[before], text[after] = "1", "2"
    return SerialCode(tuple("".join(text).split("-")), code.ids)


def expand(code: SerialCode, stage: int, position: int) -> SerialCode:
    """
    Insert a block that keeps the width inside a stage; the network computes the same as before.

    Args:
        position: of the new block in the stage, from 1: a block at a stage's head would not be exact.
    """
    stages, digits = list(code.stages), code.stages[stage]
    assert 0 < position <= len(digits)
    stages[stage] = f"{digits[:position]}1{digits[position:]}"
    before = sum(code.depths[:stage]) + position
    return SerialCode(tuple(stages), (*code.ids[:before], max(code.ids) + 1, *code.ids[before:]))


def new_stage(code: SerialCode) -> SerialCode:
    """Append a stage of one block that keeps the width."""
    return SerialCode((*code.stages, "1"), (*code.ids, max(code.ids) + 1))


def mutate(code: SerialCode, weights: Mapping[str, float], rng: random.Random) -> Optional[SerialCode]:
    """
    A random child; None if no morph is possible.

    Args:
        weights: name of a morph, "swap", "swap_doubling", "expand" or "new_stage", -> how often it is drawn in relation
            to the others. One that finds no place in the code is not drawn.
    """
    # In an order of its own: the same child however the weights were written down.
    draws = {name: draw(code) for name, draw in _DRAWS.items() if weights.get(name)}
    draws = {name: children for name, children in draws.items() if children}
    if not draws:
        return None
    name = rng.choices(list(draws), [weights[name] for name in draws])[0]
    return rng.choice(draws[name])


def children(code: SerialCode) -> List[SerialCode]:
    """What each morph can make of a code, in a fixed order."""
    return [child for draw in _DRAWS.values() for child in draw(code)]


def _swaps(code):
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
    if len(code) == MAX_BLOCKS:
        return []
    places = ((stage, position) for stage, depth in enumerate(code.depths) for position in range(1, depth + 1))
    found = {}
    for child in (expand(code, *place) for place in places):
        # Where in a stage a block of the same kind is inserted is seen in no digit but a "2" behind it.
        found.setdefault(child, child)
    return list(found.values())


def _new_stages(code):
    return [new_stage(code)] if len(code.stages) < MAX_STAGES and len(code) < MAX_BLOCKS else []


_DRAWS = {"swap": _swaps, "swap_doubling": _doubling_swaps, "expand": _expansions, "new_stage": _new_stages}
