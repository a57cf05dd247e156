"""How large a detector sees the images, and whether a training sees them whole."""

import math

import numpy as np

#: sides of an image are multiples of it, in pixels
_STEP = 8
#: longest side of an image of a test that is larger than those of a training, as a multiple of the pieces' side
_MOST_PIECES = 12
#: times that the side of a piece is at least that of most boxes, nine of ten
_PIECE_OF_BOX = 2


def choose_sizes(facts, kind):
    """
    The small boxes get the pixels that a detector needs, an image no more than it has. Where that makes images too
    large to train on, a training cuts squares out of them, unless the boxes are as large as those.

    Args:
        facts: a :class:`find_detector.facts.Facts`.
        kind: a :class:`find_detector.recipe.Kind`.

    Returns:
        shorter and longer side of the images of a test, in pixels; the factor by which most of them are resized to
        that; and the side of the squares that a training cuts out, in pixels of the images, and that which they are
        resized to; 0, 0 without.
    """
    shorter_sides, longer_sides = facts.sizes.min(1), facts.sizes.max(1)
    side, ratio = float(np.median(shorter_sides)), float(np.quantile(longer_sides / shorter_sides, 0.95))
    ratio = min(ratio, 3.0)
    wanted = side * kind.smallest_box / facts.small_box()
    # Resizing by little blurs and saves nothing.
    wanted = side if wanted > 0.75 * side else wanted
    shorter = _round(min(max(wanted, kind.shortest), kind.longest, max(side, 64)))
    crop = piece = 0
    larger = min(wanted, side, _MOST_PIECES * kind.piece / ratio)
    most_boxes = float(np.quantile(facts.boxes[:, :2].max(1), 0.9))
    # By less it would not pay.
    if larger > 1.5 * kind.longest and most_boxes * larger / side * _PIECE_OF_BOX <= kind.piece:
        shorter, piece = _round(larger), kind.piece
        crop = round(piece * side / shorter)
    return shorter, max(shorter, _STEP * math.ceil(shorter * ratio / _STEP)), shorter / side, crop, piece


def _round(side):
    return max(_STEP, _STEP * round(side / _STEP))
