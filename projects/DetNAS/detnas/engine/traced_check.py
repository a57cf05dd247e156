"""Whether an exported file gives what the network gives."""

import os

import torch
import torch.nn.functional as F
from detectron2.data import DatasetCatalog
from detectron2.utils.file_io import PathManager

from detnas.data.datasets import register_dataset
from detnas.data.mapper import build_mapper, is_classifier

from .traced import CLASSIFIER, DETECTOR, open_file

#: above these a file counts as wrong: pixels for boxes, 0..1 for scores, relative to the largest value for features
BOX_TOLERANCE, SCORE_TOLERANCE, FEATURE_TOLERANCE = 0.05, 1e-3, 1e-3


def check_images(cfg, file=""):
    """
    Three images to compare on, the first one also to trace with: a real one, the same mirrored, and at another size.

    Args:
        cfg: of the network.
        file: an image file; "" for the one with the most objects of the first data set in ``DATASETS.TEST``, or noise
            where there is none.

    Returns:
        list of (3, H, W) float32, and what they show.

    Raises:
        FileNotFoundError, ValueError: if the file is no image.
    """
    mapper = build_mapper(cfg, is_train=False)
    if file and not PathManager.isfile(file):
        raise FileNotFoundError(f"image {file} does not exist")
    file = file or _image_of_test_set(cfg)
    if file:
        try:
            image = mapper({"file_name": file})["image"].float()
        except (OSError, SyntaxError) as e:
            raise ValueError(f"{file} cannot be read as an image: {e}") from None
        what = os.path.basename(file)
    else:
        side = cfg.INPUT.CLASSIFIER.SIZE if is_classifier(cfg) else cfg.INPUT.MIN_SIZE_TEST or 800
        noise = torch.rand(3, side // 8, side // 6, generator=torch.Generator().manual_seed(0)) * 255
        image, what = F.interpolate(noise[None], (side, side * 4 // 3))[0], "noise"
    height, width = image.shape[1:]
    other = F.interpolate(image[None], (height * 3 // 4 + 1, width * 2 // 3 + 1), mode="bilinear")[0]
    return [image, image.flip(-1), other], what


def _image_of_test_set(cfg):
    for name in cfg.DATASETS.TEST[:1]:
        try:
            register_dataset(name)
            dicts = DatasetCatalog.get(name)
        except (KeyError, ValueError, FileNotFoundError):
            return ""
        return max(dicts, key=lambda d: len(d.get("annotations", ())))["file_name"] if dicts else ""
    return ""


def compare(part, outputs, expected):
    """
    Greatest differences between what a file and the model give for one image.

    Detections are matched by class and box first: those of nearly equal scores may change places.

    Returns:
        dict: "boxes" in pixels and "scores" for a detector, else the outputs' names; infinite if there is another
        number of them.
    """
    if any(a.shape != b.shape for a, b in zip(outputs, expected)):
        return {part.outputs[0]: float("inf")}
    if part is not DETECTOR:
        scale = 1.0 if part is CLASSIFIER else max(float(b.abs().max()) for b in expected)
        return {name: float((a - b).abs().max()) / scale for name, a, b in zip(part.outputs, outputs, expected)}
    (boxes, scores, classes), (true_boxes, true_scores, true_classes) = outputs, expected
    if not len(boxes):
        return {"boxes": 0.0, "scores": 0.0}
    distance = (boxes[None] - true_boxes[:, None]).abs().amax(dim=2)  # (expected, found)
    score_distance = (scores[None] - true_scores[:, None]).abs()
    distance[classes[None] != true_classes[:, None]] = float("inf")
    # A score out of tolerance must not be hidden by another detection with nearly the same box.
    match = (distance + score_distance / SCORE_TOLERANCE * BOX_TOLERANCE).argmin(dim=1)
    if len(set(match.tolist())) < len(match):
        return {"boxes": float("inf")}
    rows = torch.arange(len(match))
    return {"boxes": float(distance[rows, match].max()), "scores": float(score_distance[rows, match].max())}


def _tolerance(part, output):
    if part is DETECTOR:
        return BOX_TOLERANCE if output == "boxes" else SCORE_TOLERANCE
    return SCORE_TOLERANCE if part is CLASSIFIER else FEATURE_TOLERANCE


def check_file(path, part, model, images):
    """
    Run an exported file from the disk and compare it with the model.

    Returns:
        list of dicts, one for each image: "size" (H, W), "detections" (None for other parts) and "differences".

    Raises:
        ValueError: if a difference is above the tolerance; the file is removed.
    """
    run, results = open_file(path), []
    for image in images:
        with torch.no_grad():
            expected, outputs = part.run(model, [{"image": image}]), run(image)
        size, differences = tuple(image.shape[1:]), compare(part, outputs, expected)
        for name, difference in differences.items():
            if not difference <= _tolerance(part, name):
                PathManager.rm(path)
                raise ValueError(
                    f"{path} was removed: for an image of {size[0]}x{size[1]} pixels its {name} differ from the "
                    f"model's by {difference:.2g}; {_tolerance(part, name)} is allowed"
                )
        count = len(expected[0]) if part is DETECTOR else None
        results.append({"size": size, "detections": count, "differences": differences})
    return results
