"""Facts about a data set, and names of its held-out parts."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from detnas.data.datasets import register_dataset
from detnas.errors import UserError


@dataclass(frozen=True)
class Facts:
    """Facts about a data set; as in a training, crowds and boxes of width or height 0 do not count."""

    name: str  # as in a config
    sizes: np.ndarray  # (N, 2) floats: height and width of each image in pixels
    boxes: np.ndarray  # (M, 3) floats: width and height in pixels, and the index of the image, 0 to N - 1
    classes: dict  # {name: number of boxes} in the order of the data set, with classes without boxes
    files: list  # paths of the images that have boxes
    said: list  # sentences: what the reader mended, and what is most likely a mistake

    @property
    def images(self) -> int:
        return len(self.sizes)

    def small_box(self) -> float:
        """The 10th percentile of box sizes in pixels; a size is the square root of an area."""
        return float(np.quantile(np.sqrt(self.boxes[:, 0] * self.boxes[:, 1]), 0.1))


def look(name: str, option: str = "--train") -> Facts:
    """Read a data set, named as in a config; UserError, with the command's ``option``, if it has no boxes."""
    names, dicts = register_dataset(name) or [], DatasetCatalog.get(name)
    if dicts and "annotations" not in dicts[0]:
        raise UserError(f"{option} {name}: a detector needs boxes, and this is a folder of images by class")
    sizes = np.array([(d["height"], d["width"]) for d in dicts], float).reshape(-1, 2)
    boxes, counts, files = [], Counter(), {}
    for number, image in enumerate(dicts):
        for ann in image["annotations"]:
            x0, y0, x1, y1 = BoxMode.convert(list(map(float, ann["bbox"])), ann["bbox_mode"], BoxMode.XYXY_ABS)
            if min(x1 - x0, y1 - y0) > 0 and not ann.get("iscrowd", 0):
                boxes.append((x1 - x0, y1 - y0, number))
                counts[names[ann["category_id"]]] += 1
                files[image["file_name"]] = None
    if not boxes:
        raise UserError(f"{option} {name}: none of its {len(dicts)} images has a box")
    metadata, by_class = MetadataCatalog.get(name), {name: counts[name] for name in names}
    said = [*metadata.get("said", ()), *metadata.get("doubts", ())]
    return Facts(name, sizes, np.array(boxes, float), by_class, list(files), said)


def hold_out(name: str, count: int) -> tuple:
    """Names of a data set without ``count`` images, and of these held-out images; the same in every run."""
    return f"rest:{count}:{name}", f"holdout:{count}:{name}"
