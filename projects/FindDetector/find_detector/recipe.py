"""Which detector suits the boxes, the machine and the time: space, image size, anchors, batch."""

import math
import os
from dataclasses import asdict, dataclass

from .anchors import aspect_ratios, box_sizes, sizes_of_levels, sizes_of_one_level
from .sizes import choose_sizes

#: hours from which on a search in a space is tried on a CPU and on a GPU; the measured step then says whether it stays
_HOURS = {"1.3G": (math.inf, 24), "300M": (2, 0), "tiny": (0.5, math.inf), "small": (0, math.inf)}
#: training images below which the large space is not tried
_LARGE_NEEDS = 20_000
#: without a search a part of them is enough: no supernet takes the time
_PLAIN_NEEDS_LESS = 4
#: iterations that a supernet needs at least (experiments/RESULTS.md), or a plain network; with fewer a smaller space is
#: taken
NEEDED_ITERATIONS = 2000


@dataclass(frozen=True)
class Kind:
    """
    A detector that configs of this project describe.

    Args:
        base: config, below ``configs``.
        smallest_box: pixels that the side of a small box (one of ten is smaller) shall have, as on the blood cells in
            experiments/RESULTS.md; shortest, longest: limits of the image's shorter side, in pixels; piece: side of the
            squares that a training sees of images that would have to be larger.
        batch, rate, constraint: images, learning rate, and limit of the search where the user gives none.
        proposals: before and after the suppression, for the training and the test, and regions an image to learn from.
    """

    base: str
    smallest_box: int
    shortest: int
    longest: int
    piece: int
    batch: int
    rate: float
    constraint: str
    proposals: tuple


#: the default of the search, which limits nothing in a small space
_300M = "backbone_flops <= 300e6"
KINDS = {
    # The outlines' space of four blocks, as in experiments/configs/bccd_small_*.yaml.
    "small": Kind("demo/Base-outlines-FPN.yaml", 20, 96, 160, 128, 8, 0.1, _300M, (200, 100, 60, 40, 32)),
    "tiny": Kind("demo/Base-toy-FPN.yaml", 28, 128, 256, 192, 8, 0.04, _300M, (200, 200, 200, 100, 32)),
    "300M": Kind("demo/Base-bccd-FPN.yaml", 40, 160, 480, 320, 4, 0.02, _300M, (500, 300, 300, 200, 64)),
}
#: with a GPU, the paper's detector (experiments/configs/bccd_gpu_*.yaml)
_PROPOSALS = (2000, 1000, 1000, 1000, 512)
GPU_KINDS = {
    "300M": Kind("COCO/Base-FPN.yaml", 40, 256, 800, 640, 16, 0.04, _300M, _PROPOSALS),
    "1.3G": Kind("COCO/Base-FPN.yaml", 40, 256, 800, 640, 16, 0.04, "backbone_flops <= 1.3e9", _PROPOSALS),
}


#: images that give a candidate its batch-norm statistics, and images of a batch of it and of an evaluation without and
#: with a GPU; fewer if tests see larger images than trainings
_RECALIBRATION, _BATCH, _GPU_BATCH = 100, 25, 8
_FEWEST_RECALIBRATION = 8


@dataclass
class Recipe:
    """
    The settings of all steps.

    Args:
        shorter, longer: sides of the images of a test, in pixels, and of those of a training that sees them whole.
        scale: factor by which most images are resized to that.
        crop, piece: side of the squares that a training cuts out of images, in pixels of theirs, and what they are
            resized to; 0: it sees whole images.
        recalibration, test_batch: images of a recalibration, and of its and of an evaluation's batches.
    """

    space: str
    base: str
    shorter: int
    longer: int
    scale: float
    crop: int
    piece: int
    anchors: list
    ratios: list
    batch: int
    rate: float
    constraint: str
    proposals: list
    detections: int
    recalibration: int
    test_batch: int
    threads: int
    workers: int
    gpu: bool

    as_dict = asdict


def spaces(hours, gpu, images, search):
    """The spaces to try for so much time, with or without a search, the largest first."""
    kinds, hours = GPU_KINDS if gpu else KINDS, hours * (1 if search else _PLAIN_NEEDS_LESS)
    tried = [s for s in kinds if hours >= _HOURS[s][bool(gpu)] and (s != "1.3G" or images >= _LARGE_NEEDS)]
    return sorted(tried, key=list(_HOURS).index)


def recipe(space, facts, machine):
    """The :class:`Recipe` of a space for the :class:`find_detector.facts.Facts` of the training images."""
    kind = (GPU_KINDS if machine["gpu"] else KINDS)[space]
    shorter, longer, scale, crop, piece = choose_sizes(facts, kind)
    widths, heights = facts.boxes[:, 0] * scale, facts.boxes[:, 1] * scale
    sizes = box_sizes(widths, heights)
    anchors = sizes_of_one_level(sizes) if space == "small" else sizes_of_levels(sizes)
    full = facts.boxes_per_image()
    before, before_test, after, after_test, regions = kind.proposals
    after_test = max(after_test, 3 * full)
    # A test of larger images has as many pixels in all.
    share = piece**2 / (shorter * longer) if piece else 1.0
    batch = _GPU_BATCH if machine["gpu"] else _BATCH
    proposals = [max(before, 6 * full), max(before_test, 2 * after_test), max(after, 3 * full), after_test, regions]
    return Recipe(
        space, kind.base, shorter, longer, scale, crop, piece, anchors, aspect_ratios(widths, heights), kind.batch,
        kind.rate, kind.constraint, proposals, max(100, 2 * full),
        max(_FEWEST_RECALIBRATION, round(share * _RECALIBRATION)), max(1, round(share * batch)),
        # For networks this small a second thread costs more time than it saves.
        threads=int(os.environ.get("OMP_NUM_THREADS") or (1 if space == "small" else machine["cores"])),
        workers=min(6, max(1, machine["cores"] - 1)) if machine["gpu"] else 1,
        gpu=bool(machine["gpu"]),
    )
