"""The published networks and the hand-made baselines, as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """A network by space and arch. All use the ``even_odd`` channel split."""

    space: str
    arch: str


PUBLISHED = {
    "DetNAS-COCO-FPN-300M": Network("300M", "2120-2112-33130031-3132"),
    "DetNAS-COCO-RetinaNet-300M": Network("300M", "2311-3213-31113320-3333"),
    "DetNAS-VOC-FPN-300M": Network("300M", "2103-1303-20113333-3331"),
    "DetNAS-VOC-RetinaNet-300M": Network("300M", "1300-2333-23333220-2311"),
    "DetNASNet-1.3G": Network("1.3G", "00312102-03123320-2113202221310333-13333333"),
    "DetNASNet-3.8G": Network("3.8G", "00312102-03123320-2113202221310333-13333333"),
    "ShuffleNetv2-20": Network("300M", "0000-0000-00000000-0000"),
    "ShuffleNetv2-40": Network("1.3G", "00000000-00000000-0000000000000000-00000000"),
    "ShuffleNetv2-40-3.8G": Network("3.8G", "00000000-00000000-0000000000000000-00000000"),
}
