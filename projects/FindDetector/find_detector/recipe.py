"""Which detector suits the boxes, the machine and the time: space, size of the images, anchors, batch."""

import math
import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from detnas.config.load import load_config

#: space -> hours from which it is tried, on a CPU and on a GPU, the largest first
_HOURS = {"1.3G": (math.inf, 24), "300M": (2, 0), "tiny": (0.5, math.inf), "small": (0, math.inf)}
#: training images below which the space 1.3G is not tried
_LARGE_NEEDS = 20_000
#: Without a search no supernet takes time, so a space is tried from this part of its hours on.
_PLAIN_NEEDS_LESS = 4
#: images that give a candidate its batch-norm statistics, and images of a batch of them without and with a GPU; fewer
#: where tests see larger images than trainings
_RECALIBRATION, _LEAST_RECALIBRATION, _BATCH, _GPU_BATCH = 100, 8, 25, 8
#: learning rate with a GPU, for the batch of 16 images in COCO/Base-FPN.yaml
_GPU_RATE = 0.04
#: strides of the levels p2 to p6 of an FPN over four stages, in pixels
STRIDES = (4, 8, 16, 32, 64)
#: A training cuts squares out of images if they are at least twice as large as 90% of the boxes.
_CROP_OF_BOX = 2
#: longest side of an image of a test, in sides of such a square
_MOST_CROPS = 12


class Kind(NamedTuple):
    """
    A detector that a config below ``configs/`` describes, its base. All sides are in pixels.

    Args:
        smallest_box: that the size of a small box, the 10th percentile, should have.
        shortest, longest: limits of the shorter side of an image.
        crop: side of the squares that a training sees of images that would have to be larger.
    """

    base: str
    smallest_box: int
    shortest: int
    longest: int
    crop: int


KINDS = {
    "small": Kind("demo/Base-outlines-FPN.yaml", 20, 96, 160, 128),
    "tiny": Kind("demo/Base-toy-FPN.yaml", 28, 128, 256, 192),
    "300M": Kind("demo/Base-bccd-FPN.yaml", 40, 160, 480, 320),
}
_PAPER = Kind("COCO/Base-FPN.yaml", 40, 256, 800, 640)
GPU_KINDS = {"300M": _PAPER, "1.3G": _PAPER}


class Machine(NamedTuple):
    """The cores that this process may use, the GPU that is used ("" without one), and the number of GPUs."""

    cores: int
    gpu: str
    gpus: int


def this_machine() -> Machine:
    on_linux = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if on_linux else os.cpu_count() or 1
    return Machine(cores, torch.cuda.get_device_name() if torch.cuda.is_available() else "", torch.cuda.device_count())


@dataclass(frozen=True)
class Recipe:
    """
    What all steps share.

    Args:
        base: config below ``configs/``.
        settings: over those of ``base``, as a config has them.
        scale: factor by which most images are resized.
        limit: of the search where the user gives none.
        threads: of torch.
    """

    space: str
    base: str
    settings: dict
    scale: float
    limit: str
    threads: int


def spaces(hours: float, gpu: str, images: int, search: bool) -> list:
    """The spaces to try for so many hours and training images, with or without a search, the largest first."""
    kinds, hours = GPU_KINDS if gpu else KINDS, hours * (1 if search else _PLAIN_NEEDS_LESS)
    tried = [space for space, least in _HOURS.items() if space in kinds and hours >= least[bool(gpu)]]
    return [space for space in tried if space != "1.3G" or images >= _LARGE_NEEDS]


def make_recipe(space: str, facts, machine: Machine, root: str) -> Recipe:
    """The :class:`Recipe` of a space for the training images; ``root`` of the project holds ``configs/``."""
    kind, gpu = (GPU_KINDS if machine.gpu else KINDS)[space], bool(machine.gpu)
    cfg = load_config(os.path.join(root, "configs", kind.base))
    test_sides, scale, crop = choose_sizes(facts, kind)
    train_sides = [kind.crop, kind.crop] if crop else test_sides
    # A batch of larger images has fewer of them.
    share = math.prod(train_sides) / math.prod(test_sides)
    batch = max(1, round(share * (_GPU_BATCH if gpu else _BATCH)))
    widths, heights = facts.boxes[:, 0] * scale, facts.boxes[:, 1] * scale
    anchors = (sizes_of_one_level if space == "small" else sizes_of_levels)(np.sqrt(widths * heights))
    rpn, full, regions = cfg.MODEL.RPN, facts.boxes_per_image(), cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE
    after_test = max(rpn.POST_NMS_TOPK_TEST, 3 * full, 40)
    settings = {
        "MODEL": {
            "DETNAS": {} if space == "small" else {"SPACE": space},
            "ANCHOR_GENERATOR": {"SIZES": anchors, "ASPECT_RATIOS": [aspect_ratios(widths, heights)]},
            "RPN": {
                "PRE_NMS_TOPK_TRAIN": max(rpn.PRE_NMS_TOPK_TRAIN, 6 * full, 200),
                "PRE_NMS_TOPK_TEST": max(rpn.PRE_NMS_TOPK_TEST, 2 * after_test, 100),
                "POST_NMS_TOPK_TRAIN": max(rpn.POST_NMS_TOPK_TRAIN, 3 * full, 60), "POST_NMS_TOPK_TEST": after_test,
            },
            "ROI_HEADS": {"BATCH_SIZE_PER_IMAGE": max(regions, 32)},
        },
        "INPUT": {
            **({"CROP": {"ENABLED": True, "TYPE": "absolute", "SIZE": [crop, crop]}} if crop else {}),
            "MIN_SIZE_TRAIN": train_sides[:1], "MAX_SIZE_TRAIN": train_sides[1],
            "MIN_SIZE_TEST": test_sides[0], "MAX_SIZE_TEST": test_sides[1],
        },
        "SOLVER": {
            "REFERENCE_WORLD_SIZE": 0, "LR_SCHEDULER_NAME": "WarmupCosineLR", "STEPS": [],
            "IMS_PER_BATCH": cfg.SOLVER.IMS_PER_BATCH, "BASE_LR": _GPU_RATE if gpu else cfg.SOLVER.BASE_LR,
            "AMP": {"ENABLED": gpu}, "CLIP_GRADIENTS": {"ENABLED": True, "CLIP_TYPE": "norm", "CLIP_VALUE": 10.0},
        },
        "DATALOADER": {"NUM_WORKERS": min(6, max(1, machine.cores - 1)) if gpu else 1},
        "TEST": {"DETECTIONS_PER_IMAGE": max(100, 2 * full)},
        "SEARCH": {
            "RECALIBRATION_IMAGES": max(_LEAST_RECALIBRATION, round(share * _RECALIBRATION)),
            "RECALIBRATION_BATCH": batch, "EVALUATION_BATCH": batch, "DETECTOR_RESOLUTION": test_sides,
            **({"AUTOCAST": "bf16", "CHANNELS_LAST": True} if gpu else {}),
        },
    }
    # In networks as small as that a second thread costs more time than it saves.
    threads = int(os.environ.get("OMP_NUM_THREADS") or (1 if space == "small" else machine.cores))
    return Recipe(space, kind.base, settings, scale, f"backbone_flops <= {'1.3e9' if space == '1.3G' else '300e6'}",
                  threads)


def choose_sizes(facts, kind: Kind) -> tuple:
    """
    The small boxes get the pixels that a detector needs; no image is enlarged. Where images would be too large to train
    on, a training cuts squares out of them, unless these would be too small for most boxes.

    Returns:
        shorter and longer side of the images of a test, in pixels; the factor by which most are resized to that; and
        the side of the squares that a training cuts out, in pixels of the images, 0 if it sees them whole.
    """
    shorter_sides, longer_sides = facts.sizes.min(1), facts.sizes.max(1)
    side, ratio = float(np.median(shorter_sides)), min(float(np.quantile(longer_sides / shorter_sides, 0.95)), 3.0)
    wanted = side * kind.smallest_box / facts.small_box()
    # Resizing by little blurs and saves nothing.
    wanted = side if wanted > 0.75 * side else wanted
    shorter = min(max(wanted, kind.shortest), kind.longest, max(side, 64))
    larger = min(wanted, side, _MOST_CROPS * kind.crop / ratio)
    most_boxes = float(np.quantile(facts.boxes[:, :2].max(1), 0.9)) * larger / side
    # Crops of images that are larger by little are not worth it.
    crops = larger > 1.5 * kind.longest and most_boxes * _CROP_OF_BOX <= kind.crop
    shorter = max(8, 8 * round((larger if crops else shorter) / 8))
    sides = [shorter, max(shorter, 8 * math.ceil(shorter * ratio / 8))]
    return sides, shorter / side, round(kind.crop * side / shorter) if crops else 0


def k_means(values, k: int):
    """Centres of k groups of numbers, ascending; fewer if there are fewer different numbers. Starts from quantiles."""
    centres = np.unique(np.quantile(values, (np.arange(k) + 0.5) / k))
    for _ in range(50):
        nearest = np.abs(values[:, None] - centres).argmin(1)
        centres = np.array([values[nearest == i].mean() for i in range(len(centres)) if (nearest == i).any()])
    return centres


def sizes_of_one_level(sizes) -> list:
    """``MODEL.ANCHOR_GENERATOR.SIZES`` where one level finds all: the centres of three groups of logarithms."""
    return [[max(4, round(float(size))) for size in np.exp(k_means(np.log(sizes), 3))]]


def sizes_of_levels(sizes) -> list:
    """
    ``MODEL.ANCHOR_GENERATOR.SIZES`` with one size for each level, in pixels. Sizes double from level to level, from the
    small boxes on; then each level moves to the geometric mean of the boxes nearest to it, if it has some.
    """
    # Smaller than 2 strides an object looks like its surroundings; above 8, as in the paper, p2 sees no small box.
    logs, smallest = np.log(sizes), 2 * STRIDES[0]
    first = np.clip(np.exp(np.quantile(logs, 0.1)), smallest, 8 * STRIDES[0])
    levels = np.log(first) + np.log(2) * np.arange(len(STRIDES))
    nearest = np.abs(logs[:, None] - levels).argmin(1)
    # Few boxes tell nothing about a level.
    enough = max(3, 0.01 * len(logs))
    moved = [logs[nearest == i].mean() if (nearest == i).sum() >= enough else level for i, level in enumerate(levels)]
    # The outer levels take all smaller and all larger boxes: they move by half a doubling at most.
    moved = np.clip(moved, levels - np.log(2) / 2, levels + np.log(2) / 2)
    return [[max(smallest, round(float(size)))] for size in np.exp(moved)]


def aspect_ratios(widths, heights) -> list:
    """Heights over widths: 1.0 alone if 80% of the boxes are nearly square, else the centres of three groups."""
    logs = np.log(heights) - np.log(widths)
    if np.mean(np.abs(logs) <= np.log(1.5)) >= 0.8:
        return [1.0]
    kept = []
    for centre in np.exp(k_means(logs, 3)):
        # Ratios that differ by less than a third are one.
        if not kept or centre / kept[-1] >= 1.35:
            kept.append(float(centre))
    return [round(ratio, 2) for ratio in kept]
