import pytest
import torch

from detnas.data.mapper import build_mapper
from detnas.engine.traced import DETECTOR, Part, write_part
from detnas.engine.traced_check import check_file, check_images, compare

BOXES = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 20.0, 20.0], [0.0, 0.0, 10.0, 10.0]])
SCORES, CLASSES = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 1])
DOUBLE = Part("backbone", ("p2",), lambda model, inputs: (model(inputs[0]["image"]),))


def test_equal_detections_do_not_differ():
    assert compare(DETECTOR, (BOXES, SCORES, CLASSES), (BOXES, SCORES, CLASSES)) == {"boxes": 0.0, "scores": 0.0}


def test_detections_may_change_places():
    order = torch.tensor([1, 0, 2])
    outputs = BOXES[order], SCORES[order] + 1e-4, CLASSES[order]
    differences = compare(DETECTOR, outputs, (BOXES, SCORES, CLASSES))
    assert differences == pytest.approx({"boxes": 0.0, "scores": 1e-4}, abs=1e-6)


def test_the_greatest_differences_are_found():
    boxes, scores = BOXES.clone(), SCORES.clone()
    boxes[1, 2] += 0.25
    scores[2] -= 0.125
    assert compare(DETECTOR, (boxes, scores, CLASSES), (BOXES, SCORES, CLASSES)) == {"boxes": 0.25, "scores": 0.125}


def test_another_class_is_no_match():
    outputs = BOXES, SCORES, torch.tensor([0, 1, 0])
    assert compare(DETECTOR, outputs, (BOXES, SCORES, CLASSES))["boxes"] == float("inf")


def test_a_detection_less_is_no_match():
    outputs = BOXES[:2], SCORES[:2], CLASSES[:2]
    assert compare(DETECTOR, outputs, (BOXES, SCORES, CLASSES)) == {"boxes": float("inf")}


def test_no_detections_do_not_differ():
    nothing = BOXES[:0], SCORES[:0], CLASSES[:0]
    assert compare(DETECTOR, nothing, nothing) == {"boxes": 0.0, "scores": 0.0}


class Scale(torch.nn.Module):
    factor = 2.0

    def forward(self, x):
        return x * self.factor


def test_a_file_that_differs_is_removed(tmp_path):
    model, images = Scale(), [torch.rand(3, 8, 8), torch.rand(3, 5, 9)]
    path = write_part(model, DOUBLE, "torchscript", str(tmp_path), images[0])
    (first, second) = check_file(path, DOUBLE, model, images)
    assert first == {"size": (8, 8), "detections": None, "differences": {"p2": 0.0}} and second["size"] == (5, 9)
    model.factor = 2.1
    with pytest.raises(ValueError, match=r"backbone.ts was removed: for an image of 8x8 pixels its p2 differ"):
        check_file(path, DOUBLE, model, images)
    assert not list(tmp_path.iterdir())


def test_a_trace_that_depends_on_the_image_is_found(tmp_path):
    part = Part("backbone", ("p2",), lambda model, inputs: (inputs[0]["image"] * float(inputs[0]["image"].mean()),))
    image = torch.rand(3, 8, 8)
    path = write_part(Scale(), part, "torchscript", str(tmp_path), image)
    with pytest.raises(ValueError, match="was removed"):
        check_file(path, part, Scale(), [image, image / 2])


def test_images_are_a_real_one_mirrored_and_at_another_size(toy_config, data_dir):
    root = data_dir / "bccd_voc" / "VOCdevkit" / "VOC2007" / "JPEGImages"
    file = str(sorted(root.iterdir())[0])
    cfg = toy_config("toy_4_retrain")
    (image, mirrored, other), what = check_images(cfg, file)
    assert torch.equal(image, build_mapper(cfg, is_train=False)({"file_name": file})["image"].float())
    assert torch.equal(image.flip(-1), mirrored) and file.endswith(what)
    assert image.shape == (3, 96, 128) and other.shape == (3, 73, 86) and image.max() > 100


def test_without_an_image_there_is_noise(toy_config):
    (image, *_), what = check_images(toy_config("toy_4_retrain", "DATASETS.TEST", "()"))
    assert what == "noise" and image.shape == (3, 128, 170) and 200 < float(image.max()) <= 255
