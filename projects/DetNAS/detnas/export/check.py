"""Compares an exported file with its network. Shapes: images of H x W pixels, N detections."""

import os

import torch
import torch.nn.functional as F
from detectron2.data import DatasetCatalog
from detectron2.utils.file_io import PathManager
from scipy.optimize import linear_sum_assignment

from detnas.data.datasets import register_dataset
from detnas.data.mapper import build_mapper, is_classifier
from detnas.errors import UserError

from .traced import CLASSIFIER, DETECTOR, IN_DOUBT, open_file

#: largest allowed differences: pixels for boxes, 0..1 for scores, relative to the largest value for features
BOX_TOLERANCE, SCORE_TOLERANCE, FEATURE_TOLERANCE = 0.05, 1e-3, 1e-3
#: images of the test set to compare on, where no file is named
NUM_IMAGES = 8
#: share of detections that one side may have alone: where scores nearly tie, or lie at the threshold, rounding decides
MAX_ALONE = 0.05


def check_images(cfg, files=()):
    """
    Images to compare on, a list of (name, (3, H, W) float32). The second and third are the first one mirrored and at
    another size.

    Args:
        files: images; () takes some of the first of ``DATASETS.TEST``, the one with most objects first, or else noise.

    Raises:
        UserError: if a file is missing or no image.
    """
    mapper, images = build_mapper(cfg, is_train=False), []
    for file in files or _images_of_test_set(cfg):
        if not PathManager.isfile(file):
            raise UserError(f"image {file} does not exist")
        try:
            images.append((os.path.basename(file), mapper({"file_name": file})["image"].float()))
        except (OSError, SyntaxError) as e:
            raise UserError(f"{file} cannot be read as an image: {e}") from None
    if not images:
        side = cfg.INPUT.CLASSIFIER.SIZE if is_classifier(cfg) else cfg.INPUT.MIN_SIZE_TEST or 800
        noise = torch.rand(3, side // 8, side // 6, generator=torch.Generator().manual_seed(0)) * 255
        images = [("noise", F.interpolate(noise[None], (side, side * 4 // 3))[0])]
    name, image = images[0]
    height, width = image.shape[1:]
    other = F.interpolate(image[None], (height * 3 // 4 + 1, width * 2 // 3 + 1), mode="bilinear")[0]
    return [images[0], (f"{name} mirrored", image.flip(-1)), (f"{name} at another size", other), *images[1:]]


def _images_of_test_set(cfg):
    try:
        register_dataset(cfg.DATASETS.TEST[0])
        dicts = DatasetCatalog.get(cfg.DATASETS.TEST[0])
    except (UserError, LookupError, OSError):
        return []
    most = max(dicts, key=lambda d: len(d.get("annotations", ())), default=None)
    others = [d for d in dicts if d is not most]
    # Data sets in folders come class by class: take some of each.
    others = others[:: max(len(others) // (NUM_IMAGES - 1), 1)][: NUM_IMAGES - 1]
    return [d["file_name"] for d in [most, *others] if d]


def match(found, expected):
    """
    Pair detections, (boxes (N, 4), scores (N,), classes (N,)), that are equal within the tolerances, in any order:
    {(row of found, row of expected): (difference of the boxes in pixels, difference of the scores)}.
    """
    boxes = (found[0][:, None] - expected[0]).abs().amax(dim=2)  # (found, expected)
    scores = (found[1][:, None] - expected[1]).abs()
    distance = torch.maximum(boxes / BOX_TOLERANCE, scores / SCORE_TOLERANCE)
    distance[found[2][:, None] != expected[2]] = float("inf")
    same = distance <= 1
    # As many pairs as possible, and of these the nearest.
    pairs = zip(*linear_sum_assignment(torch.where(same, distance, distance.numel() + 1.0)))
    return {(i, j): (float(boxes[i, j]), float(scores[i, j])) for i, j in pairs if same[i, j]}


def compare_detections(found, expected):
    """
    Compare (boxes, scores, classes) by :func:`match`. The dict has counts of "detections" in both and "alone" in one,
    the largest "differences" of "boxes" (pixels) and "scores", and "fault", which :func:`check_file` fills.
    """
    pairs = match(found, expected)
    boxes, scores = zip(*pairs.values()) if pairs else ([0.0], [0.0])
    return {
        "detections": len(pairs),
        "alone": max(len(found[0]), len(expected[0])) - len(pairs),
        "differences": {"boxes": max(boxes), "scores": max(scores)},
        "fault": "",
    }


def compare_values(part, outputs, expected):
    """Compare outputs of a classifier or a backbone: a dict of "differences" by output, and "fault" in words."""
    sizes, right = ([tuple(x.shape) for x in values] for values in (outputs, expected))
    if sizes != right:
        return {"differences": {}, "fault": f"its {', '.join(part.outputs)} have the sizes {sizes}, not {right}"}
    classifier = part is CLASSIFIER
    scale = 1.0 if classifier else max(float(b.abs().max()) for b in expected) or 1.0
    differences = {name: float((a - b).abs().max()) / scale for name, a, b in zip(part.outputs, outputs, expected)}
    allowed = SCORE_TOLERANCE if classifier else FEATURE_TOLERANCE
    wrong = ", ".join(f"{name} by {value:.2g}" for name, value in differences.items() if not value <= allowed)
    return {"differences": differences, "fault": wrong and f"it differs in {wrong}; {allowed} is allowed"}


@torch.no_grad()
def check_file(path, part, model, images, most_alone=MAX_ALONE):
    """
    Compare a file of :func:`write_part` with the model on images of :func:`check_images`. UserError if they differ;
    else the file's name loses :data:`IN_DOUBT`. ``most_alone`` is the share of detections that one side may have alone.

    Returns:
        new path, and a dict for each image: "image", "size" (H, W), "differences", of detectors "detections", "alone".
    """
    file, results = open_file(path), []
    for name, image in images:
        result = {"image": name, "size": tuple(image.shape[1:])}
        try:
            found = file(image)
        except Exception as e:  # onnxruntime's and torch's have no class in common
            result["fault"] = f"it does not run: {(str(e).strip().splitlines() or [type(e).__name__])[-1]}"
        else:
            expected = part.run(model, [{"image": image}])
            is_detector = part is DETECTOR
            result |= compare_detections(found, expected) if is_detector else compare_values(part, found, expected)
        results.append(result)
    both, alone = (sum(result.get(key, 0) for result in results) for key in ("detections", "alone"))
    for result in results:
        if alone > most_alone * (both + alone) and result.get("alone"):
            count = result["detections"] + result["alone"]
            result["fault"] = f"{result['alone']} of {count} detections are not the same"
    faults = [result for result in results if result["fault"]]
    if faults:
        height, width = faults[0]["size"]
        raise UserError(
            f"{path} keeps this name, as it differs from the network on {len(faults)} of {len(images)} images: on "
            f"{faults[0]['image']} ({height}x{width} pixels) {faults[0]['fault']}. Do not use it before you know why: "
            "--image FILE compares other images, --backbone exports what comes before the boxes"
        )
    checked = "".join(path.rsplit(IN_DOUBT, 1))
    PathManager.mv(path, checked)
    return checked, results
