"""Published networks and hand-made baselines, as data. ``python -m detnas.zoo`` prints them."""

from dataclasses import dataclass, field
from typing import Dict

from tabulate import tabulate

from detnas.errors import UserError

from .choices import Candidate
from .space import SearchSpace

#: ``MODEL.DETNAS.ARCH`` of a supernet
SUPERNET = "supernet"
#: kinds of published figures; Faster R-CNN has FPN and the 4conv1fc head
IMAGENET = "ImageNet top-1 error"
COCO_FPN, COCO_RETINANET = "COCO AP, Faster R-CNN", "COCO AP, RetinaNet"
VOC_FPN, VOC_RETINANET = "VOC AP50, Faster R-CNN", "VOC AP50, RetinaNet"


@dataclass(frozen=True)
class Network:
    """
    A network with channel split ``even_odd``.

    Args:
        flops, params: of the backbone by :class:`detnas.CostTable`: multiply-adds for a 224x224 image, parameters.
        figures: published percentages: {kind: {source: value}}; source "P" is the paper, "R" the released code's table.
    """

    space: str
    arch: str
    flops: int
    params: int
    figures: Dict[str, Dict[str, float]] = field(default_factory=dict)


_LARGE = "00312102-03123320-2113202221310333-13333333"
_ALL_3X3 = "00000000-00000000-0000000000000000-00000000"

PUBLISHED = {
    "DetNAS-COCO-FPN-300M": Network(
        "300M", "2120-2112-33130031-3132", 288082368, 1849680,
        {IMAGENET: {"R": 26.2}, COCO_FPN: {"P": 36.6, "R": 36.6}},
    ),
    "DetNAS-COCO-RetinaNet-300M": Network(
        "300M", "2311-3213-31113320-3333", 291205824, 2041888,
        {IMAGENET: {"R": 26.0}, COCO_RETINANET: {"P": 33.3, "R": 34.1}},
    ),
    "DetNAS-VOC-FPN-300M": Network(
        "300M", "2103-1303-20113333-3331", 316387904, 1967696,
        {IMAGENET: {"R": 25.9}, VOC_FPN: {"P": 81.5}},
    ),
    "DetNAS-VOC-RetinaNet-300M": Network(
        "300M", "1300-2333-23333220-2311", 327489344, 1796048,
        {IMAGENET: {"R": 25.4}, VOC_RETINANET: {"P": 80.1}},
    ),
    "DetNASNet-1.3G": Network(
        "1.3G", _LARGE, 1269181536, 8415216,
        {IMAGENET: {"R": 22.8}, COCO_FPN: {"P": 40.2, "R": 40.3}},
    ),
    "DetNASNet-3.8G": Network(
        "3.8G", _LARGE, 3937832864, 26724428,
        {IMAGENET: {"R": 21.6}, COCO_FPN: {"R": 42.0}},
    ),
    "ShuffleNetv2-20": Network(
        "300M", "0000-0000-00000000-0000", 262705856, 1473488,
        {COCO_FPN: {"P": 34.8}, COCO_RETINANET: {"P": 32.1}, VOC_FPN: {"P": 80.6}, VOC_RETINANET: {"P": 79.4}},
    ),
    "ShuffleNetv2-40": Network("1.3G", _ALL_3X3, 1036681632, 6244464),
    "ShuffleNetv2-40-3.8G": Network("3.8G", _ALL_3X3, 3265452512, 20014520),
    "ShuffleNetv2-40-wide": Network("1.3G-wide", _ALL_3X3, 1268531600, 7669764, {COCO_FPN: {"P": 39.2}}),
    "ShuffleNetv2-40-3.8G-wide": Network("3.8G-wide", _ALL_3X3, 3942736294, 24165168, {COCO_FPN: {"P": 40.8}}),
}


def resolve_arch(arch: str, space: SearchSpace, source: str = "MODEL.DETNAS.ARCH") -> Candidate:
    """Path of an arch, a published name or "supernet" (first path). Raises UserError, with ``source``, if none fits."""
    if arch == SUPERNET:
        return (0,) * space.num_blocks
    if arch in PUBLISHED:
        network = PUBLISHED[arch]
        if network.space != space.name:
            raise UserError(
                f'{source} "{arch}" is a network of space "{network.space}"; MODEL.DETNAS.SPACE is "{space.name}"'
            )
        arch = network.arch
    try:
        return space.parse(arch)
    except UserError as e:
        raise UserError(f'{source} "{arch}": {e}') from None


def table() -> str:
    """Published networks as text: figures and archs."""
    whats = (IMAGENET, COCO_FPN, COCO_RETINANET, VOC_FPN, VOC_RETINANET)
    rows = []
    for name, network in PUBLISHED.items():
        figures = [network.figures.get(what, {}) for what in whats]
        cells = [", ".join(f"{value} {source}" for source, value in figure.items()) for figure in figures]
        rows.append([name, network.space, f"{network.flops / 1e6:.1f}", f"{network.params / 1e6:.2f}", *cells])
    headers = ["MODEL.DETNAS.ARCH", "space", "M flops", "M params"] + [what.replace(", ", "\n") for what in whats]
    archs = [[name, network.arch] for name, network in PUBLISHED.items()]
    return "\n\n".join(
        (
            tabulate(rows, headers, disable_numparse=True),
            "P: the paper, R: the model table of the released code; neither was measured here.\n"
            "flops are multiply-adds for a 224x224 image; flops and params are the backbone's, counted here.\n"
            "Faster R-CNN has FPN and the 4conv1fc head.\n"
            "The paper scales ShuffleNetv2-40 to the multiply-adds of DetNASNet and gives no widths.\n"
            "The names with -wide have widths of ours, the others DetNASNet's.",
            tabulate(archs, ["MODEL.DETNAS.ARCH", "arch"], disable_numparse=True),
        )
    )


if __name__ == "__main__":
    print(table())
