"""Anchors that fit the boxes of a data set. Numbers in, numbers out; nothing here reads a file."""

import numpy as np

#: strides of the levels p2 to p6 of an FPN over four stages, in pixels
STRIDES = (4, 8, 16, 32, 64)
#: the smallest anchor of a level, in strides: a detector cannot tell less
_SMALLEST = 2
#: aspect ratios nearer to each other than this factor are one
_SAME = 1.35
_ROUNDS = 50


def k_means(values, k):
    """
    Centres of k groups of numbers, ascending; fewer where there are fewer different numbers. Starts from quantiles, so
    that equal numbers give equal centres.
    """
    values = np.sort(np.asarray(values, float))
    centres = np.unique(np.quantile(values, (np.arange(k) + 0.5) / k))
    for _ in range(_ROUNDS):
        nearest = np.abs(values[:, None] - centres).argmin(1)
        moved = np.array([values[nearest == i].mean() for i in range(len(centres)) if (nearest == i).any()])
        if len(moved) == len(centres) and np.allclose(moved, centres):
            break
        centres = moved
    return centres


def box_sizes(widths, heights):
    """Square roots of the areas, in pixels."""
    return np.sqrt(np.asarray(widths, float) * np.asarray(heights, float))


def sizes_of_one_level(sizes, k=3):
    """``MODEL.ANCHOR_GENERATOR.SIZES`` where one level finds all: centres of k groups by k-means over the logarithm."""
    return [[max(4, round(float(size))) for size in np.exp(k_means(np.log(sizes), k))]]


def sizes_of_levels(sizes, strides=STRIDES):
    """
    The same with a size for each level. Sizes double from level to level, from the small boxes on; then each level
    moves to the geometric mean of the boxes nearest to it, where it has some.

    Returns:
        list of lists of one number, ascending.
    """
    logs = np.log(sizes)
    first = max(float(np.exp(np.quantile(logs, 0.1))), _SMALLEST * strides[0])
    # More than 8 strides, as in the paper, and level p2 would see no small box.
    first = min(first, 8 * strides[0])
    levels = np.log(first) + np.log(2) * np.arange(len(strides))
    nearest = np.abs(logs[:, None] - levels).argmin(1)
    # Few boxes tell nothing about a level.
    enough = max(3, 0.01 * len(logs))
    moved = [logs[nearest == i].mean() if (nearest == i).sum() >= enough else level for i, level in enumerate(levels)]
    # The outer levels take all that is smaller or larger still: no further than half a doubling.
    moved = np.clip(moved, levels - np.log(2) / 2, levels + np.log(2) / 2)
    return [[max(_SMALLEST * strides[0], round(float(np.exp(size))))] for size in moved]


def aspect_ratios(widths, heights):
    """
    ``MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS``, height over width: 1.0 alone where four of five boxes are nearly square,
    else centres of three groups.
    """
    logs = np.log(np.asarray(heights, float) / np.asarray(widths, float))
    if np.mean(np.abs(logs) <= np.log(1.5)) >= 0.8:
        return [1.0]
    kept = []
    for centre in np.exp(k_means(logs, 3)):
        if not kept or centre / kept[-1] >= _SAME:
            kept.append(float(centre))
    return [round(ratio, 2) for ratio in kept]
