import json

import pytest
import torch
from detectron2.layers import batched_nms
from detectron2.structures import Boxes, Instances

from detnas.data.mapper import build_mapper
from detnas.export import check as traced_check
from detnas.export.check import check_file, check_images, compare_detections, match
from detnas.export.traced import DETECTOR, FORMATS, Part, write_part

BOXES = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 20.0, 20.0], [0.0, 0.0, 10.0, 10.0]])
SCORES, CLASSES = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 1])
FOUND = BOXES, SCORES, CLASSES
DOUBLE = Part("backbone", ("p2",), lambda model, inputs: (model(inputs[0]["image"]),))
IMAGE = torch.rand(3, 8, 8)


def test_equal_detections_may_change_places_and_may_be_none():
    differences = {"boxes": 0.0, "scores": 0.0}
    assert compare_detections(FOUND, FOUND) == {"detections": 3, "alone": 0, "differences": differences, "fault": ""}
    order = torch.tensor([1, 0, 2])
    result = compare_detections((BOXES[order], SCORES[order] + 1e-4, CLASSES[order]), FOUND)
    assert result["differences"] == pytest.approx({"boxes": 0.0, "scores": 1e-4}, abs=1e-6)
    assert (result["detections"], result["alone"]) == (3, 0)
    nothing = BOXES[:0], SCORES[:0], CLASSES[:0]
    pairs = ((nothing, nothing), (nothing, FOUND), (FOUND, nothing))
    assert [compare_detections(*pair)["alone"] for pair in pairs] == [0, 3, 3]


def test_a_detection_is_the_same_as_one_other_only():
    twice = torch.tensor([0, 0, 1, 2])
    found = BOXES[twice], SCORES[twice], CLASSES[twice]
    assert set(match(found, FOUND)) == {(0, 0), (2, 1), (3, 2)}
    assert compare_detections(found, FOUND)["alone"] == compare_detections(FOUND, found)["alone"] == 1


class Tied(torch.nn.Module):
    """
    A detector with NMS. It finds twelve objects wherever, and one more of score 0.18 in two places, of which the one on
    the brighter half of the image is kept.
    """

    lead = 1e-8  # of the first place

    def change(self, boxes, scores, classes, image):
        return boxes, scores, classes

    def forward(self, inputs):
        image = inputs[0]["image"]
        half = image.shape[2] // 2
        low = torch.stack([image[:, :, :half].mean() + self.lead, image[:, :, -half:].mean()]) * 0.18 / image.mean()
        corners = torch.cartesian_prod(torch.arange(4.0), torch.arange(3.0)) * 20
        corners = torch.cat([corners, torch.tensor([[100.0, 0.0], [102.0, 0.0]])])
        boxes = torch.cat([corners, corners + 10], dim=1)
        scores = torch.cat([torch.linspace(0.95, 0.4, 12), low])
        classes = torch.arange(14).clamp(max=12) % 3
        boxes, scores, classes = self.change(boxes, scores, classes, image)
        keep = batched_nms(boxes, scores, classes, 0.5)
        found = Instances((60, 112))
        found.pred_boxes, found.scores, found.pred_classes = Boxes(boxes[keep]), scores[keep], classes[keep]
        return [{"instances": found}]


def checked(tmp_path, form, change=None, lead=-1e-8):
    """Check the file of a detector that differs from Tied() in its lead, or by a change."""
    half = torch.rand(3, 8, 6, generator=torch.Generator().manual_seed(0)) * 255
    images = [("a.jpg", torch.cat([half, half], dim=2)), ("b.jpg", torch.cat([half, half + 9], dim=2)[:, 1:])]
    model = Tied()
    model.lead = lead
    model.change = change or model.change
    path = write_part(model, DETECTOR, form, str(tmp_path), images[0][1])
    return check_file(path, DETECTOR, Tied(), images)


@pytest.mark.parametrize("form", FORMATS)
def test_a_tie_that_falls_the_other_way_is_counted(tmp_path, form):
    file, (tied, other) = checked(tmp_path, form, lead=-0.002)
    assert [f.name for f in tmp_path.iterdir()] == ["detector" + FORMATS[form]] and file.endswith(FORMATS[form])
    assert tied["image"] == "a.jpg" and tied["size"] == (8, 12)
    assert (tied["detections"], tied["alone"]) == (12, 1) and (other["detections"], other["alone"]) == (13, 0)


def one_twice(boxes, scores, classes, image):
    return torch.cat([boxes, boxes[:1] + 50]), torch.cat([scores, scores[:1]]), torch.cat([classes, classes[:1]])


FAULTS = {
    "shifted": lambda boxes, scores, classes, image: (boxes + 0.1, scores, classes),
    "permuted": lambda boxes, scores, classes, image: (boxes, scores, (classes + 1) % 3),
    "scaled": lambda boxes, scores, classes, image: (boxes, scores * 0.99, classes),
    "without the best": lambda boxes, scores, classes, image: (boxes[1:], scores[1:], classes[1:]),
    "one twice": one_twice,
    "preprocessed": lambda boxes, scores, classes, image: (boxes, scores * (image.mean() / 255).sqrt(), classes),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_refused_and_keeps_the_name_that_says_so(tmp_path, form, fault):
    with pytest.raises(ValueError, match="in_doubt.* on 2 of 2 images: on a.jpg .8x12 pixels."):
        checked(tmp_path, form, FAULTS[fault])
    assert [f.name for f in tmp_path.iterdir()] == [f"detector.in_doubt{FORMATS[form]}"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_constant_of_the_size_that_was_traced_is_found(tmp_path, form):
    def wide(boxes, scores, classes, image):
        return boxes * (int(image.shape[2]) / 12), scores, classes

    images = [("traced", torch.rand(3, 8, 12) * 255), ("narrow", torch.rand(3, 8, 10) * 255)]
    model = Tied()
    model.change = wide
    path = write_part(model, DETECTOR, form, str(tmp_path), images[0][1])
    with pytest.raises(ValueError, match=r"on 1 of 2 images: on narrow \(8x10 pixels\)"):
        check_file(path, DETECTOR, model, images)


class Scale(torch.nn.Module):
    factor = 2.0

    def forward(self, x):
        return x * self.factor


def test_features_that_differ_are_refused(tmp_path):
    model, images = Scale(), [("a", torch.rand(3, 8, 8)), ("b", torch.rand(3, 5, 9))]
    path = write_part(model, DOUBLE, "torchscript", str(tmp_path), images[0][1])
    file, (first, second) = check_file(path, DOUBLE, model, images)
    assert file == str(tmp_path / "backbone.ts")
    assert first == {"image": "a", "size": (8, 8), "differences": {"p2": 0.0}, "fault": ""}
    assert second["size"] == (5, 9)
    path = write_part(model, DOUBLE, "torchscript", str(tmp_path), images[0][1])
    model.factor = 2.1
    with pytest.raises(ValueError, match=r"backbone.in_doubt.ts .* on a \(8x8 pixels\) it differs in p2 by 0.048"):
        check_file(path, DOUBLE, model, images)
    # Nor is there one of the export before.
    assert [f.name for f in tmp_path.iterdir()] == ["backbone.in_doubt.ts"]
    model.factor = 0.0
    check_file(write_part(model, DOUBLE, "torchscript", str(tmp_path), images[0][1]), DOUBLE, model, images)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_runs_at_one_size_only_is_refused_in_one_sentence(tmp_path, form):
    part = Part("backbone", ("p2",), lambda model, inputs: (inputs[0]["image"].reshape(3, 8 * 8),))
    free = Part("backbone", ("p2",), lambda model, inputs: (inputs[0]["image"].reshape(3, -1),))
    path = write_part(Scale(), part, form, str(tmp_path), IMAGE)
    with pytest.raises(ValueError, match=r"on 1 of 2 images: on b \(5x9 pixels\) it does not run: .+shape") as caught:
        check_file(path, free, Scale(), [("a", IMAGE), ("b", torch.rand(3, 5, 9))])
    assert "\n" not in str(caught.value)


def test_images_are_real_ones_the_first_also_mirrored_and_at_another_size(toy_config, data_dir):
    root = data_dir / "bccd_voc" / "VOCdevkit" / "VOC2007" / "JPEGImages"
    files = [str(path) for path in sorted(root.iterdir())[:2]]
    cfg = toy_config("toy_4_retrain")
    images = check_images(cfg, files)
    first, second = (path.split("/")[-1] for path in files)
    assert [name for name, _ in images] == [first, f"{first} mirrored", f"{first} at another size", second]
    image, mirrored, other, _ = (image for _, image in images)
    assert torch.equal(image, build_mapper(cfg, is_train=False)({"file_name": files[0]})["image"].float())
    assert torch.equal(image.flip(-1), mirrored)
    assert image.shape == (3, 96, 128) and other.shape == (3, 73, 86) and image.max() > 100


def test_without_a_file_they_are_of_the_test_set_the_one_with_most_objects_first_or_noise(
    toy_config, toy_root, monkeypatch
):
    monkeypatch.setattr(traced_check, "NUM_IMAGES", 4)
    file = toy_root / "detection" / "train.json"
    coco = json.loads(file.read_text())
    objects = [a["image_id"] for a in coco["annotations"]]
    names = [i["file_name"] for i in sorted(coco["images"], key=lambda i: i["id"])]
    most = max(coco["images"], key=lambda i: objects.count(i["id"]))["file_name"]
    name = f"('coco:{file}:{file.parent}/train',)"
    images = check_images(toy_config("toy_4_retrain", "DATASETS.TEST", name))
    first, _, _, *others = (name for name, _ in images)
    assert first == most and len(others) == 3 and others == sorted(set(others) - {most})
    assert names.index(others[-1]) >= len(names) // 2
    (name, image), *_ = check_images(toy_config("toy_4_retrain", "DATASETS.TEST", "()"))
    assert name == "noise" and image.shape == (3, 128, 170) and 200 < float(image.max()) <= 255
