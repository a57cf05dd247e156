import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode
from PIL import Image
from toy_runs import classification, detection, toy_setup

from detnas.config.load import with_settings
from detnas.data.mapper import ClassificationMapper, build_mapper, build_recalibration_mapper


@pytest.fixture
def picture(tmp_path):
    """Dataset dict of an image that is red on the left and green on the right."""
    image = Image.new("RGB", (96, 64), (255, 0, 0))
    image.paste((0, 255, 0), (48, 0, 96, 64))
    image.save(tmp_path / "image.png")
    return {"file_name": str(tmp_path / "image.png"), "image_id": 7, "label": 3}


@pytest.fixture
def detector_cfg(toy_root, tmp_path):
    return toy_setup("toy_2_train_supernet", {**detection(toy_root), "OUTPUT_DIR": tmp_path})


def first_of_training(cfg):
    return DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[0]


def jitter(cfg, size, scales=(1.0, 1.0)):
    return with_settings(cfg, {"INPUT.SCALE_JITTER.SIZE": size, "INPUT.SCALE_JITTER.RANGE": scales})


def test_a_detector_is_trained_and_recalibrated_with_boxes_tested_without_and_jittered_in_training_alone(detector_cfg):
    sample, cfg = first_of_training(detector_cfg), jitter(detector_cfg, (48, 48))
    train, test = build_mapper(detector_cfg, True)(sample), build_mapper(cfg, False)(sample)
    recalibration = build_recalibration_mapper(cfg)(sample)
    assert all(x["image"].shape == (3, 64, 64) and x["image"].dtype == torch.uint8 for x in (train, test))
    assert torch.equal(recalibration["image"], test["image"]) and "instances" not in test
    for x in (train, recalibration):
        assert x["instances"].gt_classes.tolist() == [ann["category_id"] for ann in sample["annotations"]]
    boxes = torch.tensor([ann["bbox"] for ann in sample["annotations"]]).float()
    boxes[:, 2:] += boxes[:, :2]
    assert (boxes % 2 == 1).any()
    # 128 pixels became 64, and what lies between two pixels is not rounded.
    torch.testing.assert_close(recalibration["instances"].gt_boxes.tensor, boxes / 2, rtol=0, atol=1e-4)


def test_a_classifier_recalibrates_on_the_crops_of_the_test_with_labels(toy_root, tmp_path):
    cfg = toy_setup("toy_1_pretrain_supernet", {**classification(toy_root), "OUTPUT_DIR": tmp_path})
    sample = first_of_training(cfg)
    result = build_recalibration_mapper(cfg)(sample)
    assert torch.equal(result["image"], build_mapper(cfg, is_train=False)(sample)["image"])
    assert result["label"] == sample["label"]
    assert build_mapper(cfg, is_train=True)(sample)["image"].shape == result["image"].shape == (3, 32, 32)


@pytest.mark.parametrize("image_format, red, green", [("BGR", 2, 1), ("RGB", 0, 1)])
def test_testing_takes_the_centre_with_channels_in_the_order_of_the_format(picture, image_format, red, green):
    image = ClassificationMapper(False, 32, image_format)(picture)["image"]
    assert (image[red, :, :14] == 255).all() and (image[green, :, 0] == 0).all()
    assert (image[green, :, 18:] == 255).all() and (image[red, :, -1] == 0).all()


def test_training_crops_flips_and_jitters_at_random_but_colours_where_they_are_to_stay(picture):
    torch.manual_seed(0)
    results = [ClassificationMapper(True, 32)(picture) for _ in range(20)]
    assert all((x["label"], x["image_id"], x["image"].dtype) == (3, 7, torch.uint8) for x in results)
    assert "image" not in picture
    images = [x["image"] for x in results]
    assert len({tuple(image.flatten().tolist()) for image in images}) == len(images)
    left_is_red = [bool(image[2, 16, 0] > image[1, 16, 0]) for image in images]
    assert True in left_is_red and False in left_is_red
    mapper = ClassificationMapper(True, 32, color_jitter=0)
    for image in (mapper(picture)["image"] for _ in range(10)):
        assert (image[0] == 0).all()
        # At the edge between the halves red and green are mixed.
        assert (image[1].int() + image[2].int() - 255).abs().max() <= 2


@pytest.fixture
def jittered(detector_cfg, tmp_path):
    """Function that maps, for training, an image of 96 x 64 with a white box, x 30 to 60 and y 20 to 50."""
    image = Image.new("RGB", (96, 64), (90, 90, 90))
    image.paste((255, 255, 255), (30, 20, 60, 50))
    image.save(tmp_path / "box.png")
    annotation = {"bbox": [30, 20, 60, 50], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}
    sample = {"file_name": str(tmp_path / "box.png"), "height": 64, "width": 96, "annotations": [annotation]}

    def run(size, scales, seed=0, **settings):
        cfg = jitter(detector_cfg, size, scales)
        for key, value in settings.items():
            cfg.merge_from_list([key.replace("__", "."), value])
        np.random.seed(seed)
        result = build_mapper(cfg, is_train=True)(sample)
        assert result["image"].shape == (3, *size)
        return result["image"][0].float(), result["instances"].gt_boxes.tensor

    return run


def test_a_small_scale_keeps_proportions_and_pads_at_the_right_and_below_with_the_models_mean(jittered):
    settings = {"INPUT__RANDOM_FLIP": "none", "MODEL__PIXEL_MEAN": [100.0, 110.0, 120.0]}
    image, boxes = jittered((64, 96), (0.5, 0.5), **settings)
    assert boxes.tolist() == [[15, 10, 30, 25]]
    assert image[17, 22] == 255 and image[2, 2] == 90
    assert (image[32:] == 110).all() and (image[:, 48:] == 110).all() and not (image[:32, :48] == 110).all()
    image, _ = jittered((96, 96), (1.0, 1.0))
    assert (image[:64] > 0).all() and (image[64:] == 0).all()


def test_a_large_scale_crops_at_random_and_boxes_go_with_it(jittered):
    found = set()
    for seed in range(20):
        image, boxes = jittered((64, 96), (2.0, 2.0), seed)
        assert (image > 0).all()
        if len(boxes):
            (x0, y0, x1, y1), inside = boxes[0].round().int().tolist(), image > 200
            rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert [abs(int(edge) - side) <= 1 for edge, side in zip(edges, (x0, y0, x1, y1))] == [True] * 4
            found.add((x0, y0))
    assert len(found) > 5


def test_scales_are_drawn_from_their_range_and_images_still_flipped(jittered):
    boxes = [jittered((64, 96), (0.5, 1.0), seed)[1][0].tolist() for seed in range(40)]
    scales = [(x1 - x0) / 30 for x0, _, x1, _ in boxes]
    assert 0.49 < min(scales) < 0.6 and 0.9 < max(scales) <= 1.01
    flipped = [x0 > 30.5 * scale for (x0, *_), scale in zip(boxes, scales)]
    assert True in flipped and False in flipped
