"""Chooses a detector for boxes, machine and time: space, size of the images, anchors, batch."""

import math
import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.cluster.vq import kmeans

from detnas.config.load import load_config
from detnas.files import shipped_configs
from detnas.space import SPACES
from detnas.training.speed import fast_bf16


class Kind(NamedTuple):
    """A detector that a config below ``configs/`` describes. All sides are in pixels."""

    base: str  # the config
    smallest_box: int  # wanted size of small boxes, the 10th percentile
    shortest: int  # limits of the shorter side of an image
    longest: int
    crop: int  # side of the squares that a training cuts out of larger images
    hours: float  # fewest for which the space is tried
    images: int = 0  # fewest training images for which the space is tried
    scales: tuple = (1.0,)  # factors of the size; a training draws one for each image


#: space -> its detector on a CPU and on a GPU, the largest first
KINDS = {
    "300M": Kind("demo/Base-bccd-FPN.yaml", 40, 160, 480, 320, hours=0.5),
    "tiny": Kind("demo/Base-toy-FPN.yaml", 28, 128, 256, 192, hours=0.125),
    "small": Kind("demo/Base-outlines-FPN.yaml", 20, 96, 160, 128, hours=0),
}
_PAPER = Kind("COCO/Base-FPN.yaml", 40, 256, 800, 640, hours=0)
GPU_KINDS = {"1.3G": _PAPER._replace(hours=6, images=20_000), "300M": _PAPER}
#: the same for pre-trained networks, the likeliest first
PRETRAINED_KINDS = {
    "light": Kind("Pretrained/Base-light-FPN.yaml", 34, 128, 320, 192, hours=0),
    "medium": Kind("Pretrained/Base-medium-FPN.yaml", 40, 160, 480, 320, hours=0.25,
                   scales=(6 / 7, 1.0, 8 / 7)),
}
GPU_PRETRAINED_KINDS = {"full": _PAPER._replace(base="Pretrained/Base-FPN.yaml")}
#: of a family: shares of the whole detector's size and proposals (of the 8 for each box of a full image at least 2);
#: smallest side in pixels
_SIZES, _PROPOSALS, _LEAST_SIDE = (1 / 3, 1 / 2, 2 / 3, 5 / 6, 1), (0.25, 0.5, 1), 32
#: images for a candidate's batch-norm statistics, and fewest, where test images are larger than training images
_RECALIBRATION, _LEAST_RECALIBRATION = 50, 24
#: images in such a batch without and with a GPU
_BATCH, _GPU_BATCH = 25, 8
#: and fewest: on circuit boards batches of 2 cost 7 AP and more, batches of 4 nothing (experiments/RESULTS.md)
_LEAST_BATCH = 4
#: learning rate with a GPU, for the batch of 16 images in COCO/Base-FPN.yaml
_GPU_RATE = 0.04
#: Regions of the first stage in training and in tests, and detections, for each box of a full image (95th percentile
#: of boxes). With 3 instead of 8 in the test, shapes in large images had 58.6 AP and not 71.5 (experiments/RESULTS.md).
_REGIONS, _TESTED_REGIONS, _DETECTIONS = 3, 8, 2
#: Cascade R-CNN with two stages: the second one starts from the boxes of the first. After equal time it has 6 AP more
#: on outlines than one stage, 0.6 more than three (experiments/RESULTS.md).
_BOX_STAGES = {"IOUS": [0.5, 0.65], "BBOX_REG_WEIGHTS": [[10.0, 10.0, 5.0, 5.0], [25.0, 25.0, 12.5, 12.5]]}
#: strides of the levels p2 to p6 of an FPN over four stages, in pixels
STRIDES = (4, 8, 16, 32, 64)
#: Images are only resized to less than this share of their side: smaller changes blur and save nothing.
_WORTH_RESIZING = 0.75
#: Images longer than this, in shorter sides, are rare: their longer side decides the size.
_LONGEST_RATIO = 3.0
#: A training cuts squares out of images that need a side over so many times ``Kind.longest`` ...
_WORTH_CROPPING = 1.5
#: ... if squares have at least so many times the side of 90% of the boxes.
_CROP_OF_BOX = 2
#: longest side of a test image, in sides of such a square
_MOST_CROPS = 12


class Machine(NamedTuple):
    """Cores that this process may use, name of the GPU in use ("" for none), number of GPUs, and fast bf16."""

    cores: int
    gpu: str
    gpus: int
    bf16: bool = False


def this_machine() -> Machine:
    on_linux = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if on_linux else os.cpu_count() or 1
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return Machine(cores, gpu, torch.cuda.device_count(), fast_bf16())


def side_by_side(trainings: int) -> int:
    """How many of so many trainings run at a time: one on a GPU, else one on each core."""
    machine = this_machine()
    return 1 if machine.gpu else min(trainings, machine.cores)


@dataclass(frozen=True)
class Recipe:
    """Settings that all steps share."""

    base: str  # config below configs/
    settings: dict  # overrides of the base, nested as in a config
    scale: float  # factor by which most images are resized
    recalibration: int  # images for a child's batch-norm statistics
    sweep: dict  # MODEL.ELASTIC of sizes and proposals


def spaces(hours: float, gpu: str, images: int) -> list:
    """Spaces for random weights that hours, GPU and number of images allow, the largest first."""
    kinds = GPU_KINDS if gpu else KINDS
    return [space for space, kind in kinds.items() if hours >= kind.hours and images >= kind.images]


def make_recipe(space: str, facts, machine: Machine) -> Recipe:
    """The :class:`Recipe` of a space or pre-trained kind; ``facts`` are those of the training images."""
    gpu = bool(machine.gpu)
    kind = ({**GPU_KINDS, **GPU_PRETRAINED_KINDS} if gpu else {**KINDS, **PRETRAINED_KINDS})[space]
    cfg = load_config(os.path.join(shipped_configs(), kind.base))
    test_sides, scale, crop = choose_sizes(facts, kind)
    train_sides = [kind.crop, kind.crop] if crop else test_sides
    drawn_sides, longest = ([8 * math.ceil(side * scale / 8 - 0.5) for scale in kind.scales] for side in train_sides)
    share = math.prod(train_sides) / math.prod(test_sides)
    batch = max(_LEAST_BATCH, round(share * (_GPU_BATCH if gpu else _BATCH)))
    recalibration = max(_LEAST_RECALIBRATION, round(share * _RECALIBRATION))
    widths, heights = facts.boxes[:, 0] * scale, facts.boxes[:, 1] * scale
    anchors = (sizes_of_one_level if space == "small" else sizes_of_levels)(np.sqrt(widths * heights))
    rpn = cfg.MODEL.RPN
    counts = np.bincount(facts.boxes[:, 2].astype(int), minlength=facts.images)
    full = int(np.ceil(np.quantile(counts, 0.95)))
    # The base config suits images with few boxes; full images need more regions.
    after_test = max(rpn.POST_NMS_TOPK_TEST, _TESTED_REGIONS * full, 40)
    settings = {
        "MODEL": {
            "DETNAS": {"SPACE": space} if space in SPACES else {},
            "ANCHOR_GENERATOR": {"SIZES": anchors, "ASPECT_RATIOS": [aspect_ratios(widths, heights)]},
            "RPN": {
                "PRE_NMS_TOPK_TRAIN": max(rpn.PRE_NMS_TOPK_TRAIN, 2 * _REGIONS * full, 200),
                "PRE_NMS_TOPK_TEST": max(rpn.PRE_NMS_TOPK_TEST, 2 * after_test, 100),
                "POST_NMS_TOPK_TRAIN": max(rpn.POST_NMS_TOPK_TRAIN, _REGIONS * full, 60),
                "POST_NMS_TOPK_TEST": after_test,
            },
            "ROI_HEADS": {"NAME": "CascadeROIHeads",
                          "BATCH_SIZE_PER_IMAGE": max(cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE, 32)},
            "ROI_BOX_HEAD": {"CLS_AGNOSTIC_BBOX_REG": True},
            "ROI_BOX_CASCADE_HEAD": _BOX_STAGES,
        },
        "INPUT": {
            **({"CROP": {"ENABLED": True, "TYPE": "absolute", "SIZE": [crop, crop]}} if crop else {}),
            "MIN_SIZE_TRAIN": drawn_sides, "MAX_SIZE_TRAIN": max(longest),
            "MIN_SIZE_TEST": test_sides[0], "MAX_SIZE_TEST": test_sides[1],
        },
        "SOLVER": {
            "REFERENCE_WORLD_SIZE": 0, "LR_SCHEDULER_NAME": "WarmupCosineLR", "STEPS": [],
            "IMS_PER_BATCH": cfg.SOLVER.IMS_PER_BATCH, "BASE_LR": _GPU_RATE if gpu else cfg.SOLVER.BASE_LR,
            "AMP": {"ENABLED": gpu or machine.bf16},
            "CLIP_GRADIENTS": {"ENABLED": True, "CLIP_TYPE": "norm", "CLIP_VALUE": 10.0},
        },
        "DATALOADER": {"NUM_WORKERS": min(6, max(1, machine.cores - 1)) if gpu else 1},
        "TEST": {"DETECTIONS_PER_IMAGE": max(100, _DETECTIONS * full)},
        "SEARCH": {"RECALIBRATION_IMAGES": recalibration, "RECALIBRATION_BATCH": batch, "EVALUATION_BATCH": batch,
                   "DETECTOR_RESOLUTION": test_sides, "CHANNELS_LAST": True, "AUTOCAST": "bf16" if gpu else ""},
    }
    return Recipe(kind.base, settings, scale, recalibration, family_of(test_sides[0], after_test))


def family_of(side: int, proposals: int) -> dict:
    """``MODEL.ELASTIC`` of a family: images up to ``side`` pixels (``MIN_SIZE_TEST``), up to ``proposals`` regions."""
    sizes = {min(side, max(_LEAST_SIDE, 8 * round(side * share / 8))) for share in _SIZES}
    fewer = {max(1, round(proposals * share)) for share in _PROPOSALS}
    return {"SIZES": sorted(sizes), "CHOICES": [["MODEL.RPN.POST_NMS_TOPK_TEST", *sorted(fewer)]]}


def choose_sizes(facts, kind: Kind) -> tuple:
    """
    Choose the size of test images: small boxes get enough pixels, no image is enlarged. A training cuts squares out of
    images that are too large for it, unless squares are too small for most boxes. Returns [shorter, longer] side in
    pixels, the factor that most images are resized by, and the side of squares in original pixels, 0 for whole images.
    """
    sides, ratios = facts.sizes.min(1), facts.sizes.max(1) / facts.sizes.min(1)
    side, ratio = float(np.median(sides)), min(float(np.quantile(ratios, 0.95)), _LONGEST_RATIO)
    wanted = side * kind.smallest_box / facts.small_box()
    wanted = side if wanted > _WORTH_RESIZING * side else wanted
    shorter = min(max(wanted, kind.shortest), kind.longest, max(side, 64))
    larger = min(wanted, side, _MOST_CROPS * kind.crop / ratio)
    most_boxes = float(np.quantile(facts.boxes[:, :2].max(1), 0.9)) * larger / side
    crops = larger > _WORTH_CROPPING * kind.longest and most_boxes * _CROP_OF_BOX <= kind.crop
    shorter = max(8, 8 * round((larger if crops else shorter) / 8))
    longer = max(shorter, 8 * math.ceil(shorter * ratio / 8))
    return [shorter, longer], shorter / side, round(kind.crop * side / shorter) if crops else 0


def k_means(values, k: int):
    """At most ``k`` centres of groups of numbers, ascending, by k-means from quantiles."""
    start = np.unique(np.quantile(values, (np.arange(k) + 0.5) / k))
    return np.sort(kmeans(values, start if len(start) > 1 else 1)[0])


def sizes_of_one_level(sizes) -> list:
    """``MODEL.ANCHOR_GENERATOR.SIZES`` in pixels for one level: centres of three groups of logarithms."""
    return [[max(4, round(float(size))) for size in np.exp(k_means(np.log(sizes), 3))]]


def sizes_of_levels(sizes) -> list:
    """Anchor sizes in pixels, one a level: doubled from small boxes on, moved to the geometric mean of near boxes."""
    # Below 2 strides an object looks like its surroundings; above 8, as in the paper, p2 sees no small box.
    logs, smallest = np.log(sizes), 2 * STRIDES[0]
    first = np.clip(np.exp(np.quantile(logs, 0.1)), smallest, 8 * STRIDES[0])
    levels = np.log(first) + np.log(2) * np.arange(len(STRIDES))
    nearest = np.abs(logs[:, None] - levels).argmin(1)
    enough = max(3, 0.01 * len(logs))
    moved = [logs[nearest == i].mean() if (nearest == i).sum() >= enough else level for i, level in enumerate(levels)]
    # The outer levels take all smaller and all larger boxes: they move by half a doubling at most.
    moved = np.clip(moved, levels - np.log(2) / 2, levels + np.log(2) / 2)
    return [[max(smallest, round(float(size)))] for size in np.exp(moved)]


def aspect_ratios(widths, heights) -> list:
    """Heights over widths: 1.0 alone if 80% of the boxes are nearly square, else centres of three groups."""
    logs = np.log(heights) - np.log(widths)
    if np.mean(np.abs(logs) <= np.log(1.5)) >= 0.8:
        return [1.0]
    kept = []
    for centre in np.exp(k_means(logs, 3)):
        if not kept or centre / kept[-1] >= 1.35:
            kept.append(float(centre))
    return [round(ratio, 2) for ratio in kept]
