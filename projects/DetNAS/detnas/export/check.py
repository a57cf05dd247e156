"""Whether an exported file gives what the network gives."""

import os

import torch
import torch.nn.functional as F
from detectron2.data import DatasetCatalog
from detectron2.utils.file_io import PathManager

from detnas.data.datasets import register_dataset
from detnas.data.mapper import build_mapper, is_classifier
from detnas.errors import UserError

from .traced import CLASSIFIER, DETECTOR, mark_checked, open_file

#: above these a file counts as wrong: pixels for boxes, 0..1 for scores, relative to the largest value for features
BOX_TOLERANCE, SCORE_TOLERANCE, FEATURE_TOLERANCE = 0.05, 1e-3, 1e-3
#: how many images of the test set a file is run on, where none is named
NUM_IMAGES = 8
#: A detection is a tie if the network itself finds it or not when the values of the image, 0..255, change by at most
#: this: two scores or overlaps are so near each other that rounding decides. About fifty times what rounding does.
TIE_NOISE, TIE_TRIES = 0.02, 16
#: of all detections; with more ties than that too little was compared
MAX_TIES = 0.1


def check_images(cfg, files=()):
    """
    Images to compare on, the first one also to trace with: real ones, and the first of them mirrored and at another
    size.

    Args:
        cfg: of the network.
        files: image files; () for some of the first data set in ``DATASETS.TEST``, that with the most objects first,
            or noise where there is none.

    Returns:
        list of (name, (3, H, W) float32).

    Raises:
        UserError: if a file is no image.
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
    for name in cfg.DATASETS.TEST[:1]:
        try:
            register_dataset(name)
            dicts = DatasetCatalog.get(name)
        except (UserError, KeyError, OSError):
            return []
        most = max(dicts, key=lambda d: len(d.get("annotations", ())), default=None)
        others = [d for d in dicts if d is not most]
        # A folder holds its images by class: some of each.
        others = others[:: max(len(others) // (NUM_IMAGES - 1), 1)][: NUM_IMAGES - 1]
        return [d["file_name"] for d in [most, *others] if d]
    return []


def match(found, expected):
    """
    Pairs of detections that are the same within the tolerances, one to one, in whatever order they are.

    Args:
        found, expected: each (boxes, scores, classes).

    Returns:
        dict (row of found, row of expected) -> (difference of the boxes in pixels, of the scores).
    """
    boxes = (found[0][:, None] - expected[0]).abs().amax(dim=2)  # (found, expected)
    scores = (found[1][:, None] - expected[1]).abs()
    distance = torch.maximum(boxes / BOX_TOLERANCE, scores / SCORE_TOLERANCE)
    distance[found[2][:, None] != expected[2]] = float("inf")
    pairs, left, right = {}, set(), set()
    for i, j in sorted((distance <= 1).nonzero().tolist(), key=lambda pair: float(distance[tuple(pair)])):
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
            pairs[i, j] = float(boxes[i, j]), float(scores[i, j])
    return pairs


def _others(detections, rows):
    """The detections that are not in these rows."""
    keep = [row for row in range(len(detections[0])) if row not in rows]
    return [values[keep] for values in detections]


def drop_ties(run, image, same, added, missing):
    """
    Of the detections that only a file has, and of those that only the network has, those that are no ties: the network
    gives or lacks a tie itself when the image hardly changes. That shows whatever was decided by a hair: the score
    threshold, overlaps in NMS, the most that are kept, the level of the FPN that a proposal is pooled from.

    Args:
        run: function image -> (boxes, scores, classes) of the network.
        same, added, missing: each (boxes, scores, classes); ``same`` are those that both have.
    """
    generator = torch.Generator().manual_seed(0)
    for _ in range(TIE_TRIES):
        if len(added[0]) + len(missing[0]) == 0:
            break
        again = run(image + TIE_NOISE * (2 * torch.rand(image.shape, generator=generator) - 1))
        # A second copy of what both have is no tie.
        again = _others(again, {j for _, j in match(same, again)})
        added = _others(added, {i for i, _ in match(added, again)})
        missing = _others(missing, set(range(len(missing[0]))) - {i for i, _ in match(missing, again)})
    return added, missing


def compare_detections(run, image, found):
    """
    Compare (boxes, scores, classes) that a file has ``found`` in an image (3, H, W) with those of ``run(image)``.

    Returns:
        dict: "detections" that are the same, "ties" that were left out, "differences" of the former, the greatest of
        "boxes" in pixels and of "scores", and "fault", what else differs in words.
    """
    expected = run(image)
    pairs = match(found, expected)
    added, missing = _others(found, {i for i, _ in pairs}), _others(expected, {j for _, j in pairs})
    same = [values[[j for _, j in pairs]] for values in expected]
    extra, lost = drop_ties(run, image, same, added, missing)
    boxes, scores = zip(*pairs.values()) if pairs else ([0.0], [0.0])
    return {
        "detections": len(pairs),
        "ties": max(len(added[0]) - len(extra[0]), len(missing[0]) - len(lost[0])),
        "differences": {"boxes": max(boxes), "scores": max(scores)},
        "fault": _fault(extra, lost, found, expected),
    }


def _fault(extra, lost, found, expected):
    if not len(extra[0]) + len(lost[0]):
        return ""
    one, others = (lost, found) if len(lost[0]) else (extra, expected)
    (box, *_), (score, *_), (label, *_) = one
    fault = f"it lacks {len(lost[0])} of {len(expected[0])} detections and has {len(extra[0])} that are not among them"
    fault += f"; one is of class {label} with a score of {score:.3f}"
    away = (others[0] - box).abs().amax(dim=1)[others[2] == label]
    if not len(away):
        return f"{fault}, and the other side has none of that class"
    nearest = others[1][others[2] == label][away.argmin()]
    return f"{fault}, and the nearest of that class is {away.min():.2g} pixels away with a score of {nearest:.3f}"


def compare_values(part, outputs, expected):
    """The same for the outputs of a classifier or of a backbone, without detections and ties."""
    sizes, right = ([tuple(x.shape) for x in values] for values in (outputs, expected))
    if sizes != right:
        return {"differences": {}, "fault": f"its {', '.join(part.outputs)} have the sizes {sizes}, not {right}"}
    classifier = part is CLASSIFIER
    scale = 1.0 if classifier else max(float(b.abs().max()) for b in expected)
    differences = {name: float((a - b).abs().max()) / scale for name, a, b in zip(part.outputs, outputs, expected)}
    allowed = SCORE_TOLERANCE if classifier else FEATURE_TOLERANCE
    wrong = [f"{name} by {value:.2g}" for name, value in differences.items() if not value <= allowed]
    return {
        "differences": differences,
        "fault": f"it differs in {', '.join(wrong)}; {allowed} is allowed" if wrong else "",
    }


@torch.no_grad()
def check_file(path, part, model, images):
    """
    Run an exported file from the disk and compare it with the model.

    Args:
        path: from :func:`write_part`.
        images: from :func:`check_images`.

    Returns:
        path of the file, now under its own name, and a list of dicts, one for each image: "image", "size" (H, W),
        "differences", and for a detector "detections" and "ties".

    Raises:
        UserError: if the file differs, or if there are too many ties to tell; it keeps its name.
    """
    file, results = open_file(path), []

    def run(image):
        return part.run(model, [{"image": image}])

    for name, image in images:
        result = {"image": name, "size": tuple(image.shape[1:])}
        try:
            found = file(image)
        except Exception as e:  # onnxruntime's and torch's have no class in common
            result["fault"] = f"it does not run: {(str(e).strip().splitlines() or [type(e).__name__])[-1]}"
        else:
            if part is DETECTOR:
                result.update(compare_detections(run, image, found))
            else:
                result.update(compare_values(part, found, run(image)))
        results.append(result)
    faults = [result for result in results if result["fault"]]
    if faults:
        height, width = faults[0]["size"]
        raise UserError(
            f"{path} keeps this name, as it differs from the network on {len(faults)} of {len(images)} images: on "
            f"{faults[0]['image']} ({height}x{width} pixels) {faults[0]['fault']}. Do not use it before you know why: "
            "--image FILE compares other images, --backbone exports what comes before the boxes"
        )
    count, ties = (sum(result.get(key, 0) for result in results) for key in ("detections", "ties"))
    if ties > MAX_TIES * (count + ties):
        raise UserError(
            f"{path} keeps this name: {ties} of {count + ties} detections are ties, which rounding decides, and too "
            "few are left to compare; --image FILE with clear objects, or a longer training, leaves more"
        )
    return mark_checked(path), results
