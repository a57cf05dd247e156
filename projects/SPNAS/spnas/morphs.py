"""Morphs of a code (SP-NAS, serial phase): pure functions that keep block ids and the number of doublings."""

import random
from typing import List, Mapping, Optional

from .code import MAX_BLOCKS, MAX_STAGES, SerialCode

#: most blocks that a boundary or a doubling moves by: "a few"
_FAR = 3


def swap(code: SerialCode, boundary: int, shift: int) -> SerialCode:
    """
    Move a stage boundary (0: between the first two) by ``shift`` blocks; a positive shift enlarges the stage before.
    Blocks keep their widths and change their resolution. No stage may become empty.
    """
    stages = list(code.stages)
    both, cut = stages[boundary] + stages[boundary + 1], len(stages[boundary]) + shift
    assert 0 < cut < len(both)
    stages[boundary : boundary + 2] = both[:cut], both[cut:]
    return SerialCode(tuple(stages), code.ids)


def swap_doubling(code: SerialCode, block: int, shift: int) -> SerialCode:
    """
    Move the doubling of a ``block``, the index of a "2" in network order, by ``shift`` blocks, to the right if
    positive. A "1" must stand there. Blocks in between change their widths and the shapes of their weights.
    """
    text = list(str(code))
    places = [place for place, digit in enumerate(text) if digit != "-"]
    before, after = places[block], places[block + shift]
    assert (text[before], text[after]) == ("2", "1")
    text[before], text[after] = "1", "2"
    return SerialCode(tuple("".join(text).split("-")), code.ids)


def expand(code: SerialCode, stage: int, position: int) -> SerialCode:
    """Insert a block that keeps the width, at a ``position`` from 1 in a stage. The network computes the same."""
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
    Draw a random child; None if no morph is possible. ``weights``: "swap", "swap_doubling", "expand" or "new_stage" ->
    relative frequency. Impossible morphs are not drawn.
    """
    # In the order of _DRAWS, so that the order of the weights changes nothing.
    draws = {name: draw(code) for name, draw in _DRAWS.items() if weights.get(name)}
    draws = {name: children for name, children in draws.items() if children}
    if not draws:
        return None
    name = rng.choices(list(draws), [weights[name] for name in draws])[0]
    return rng.choice(draws[name])


def children(code: SerialCode) -> List[SerialCode]:
    """All children of a code by one morph, in a fixed order."""
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
        # Insertions into a run of "1" give equal codes.
        found.setdefault(child, child)
    return list(found.values())


def _new_stages(code):
    return [new_stage(code)] if len(code.stages) < MAX_STAGES and len(code) < MAX_BLOCKS else []


_DRAWS = {"swap": _swaps, "swap_doubling": _doubling_swaps, "expand": _expansions, "new_stage": _new_stages}
