import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode
from PIL import Image
from toy_runs import classification, detection, toy_setup

from detnas.data.mapper import ClassificationMapper, build_mapper, build_recalibration_mapper


@pytest.fixture
def picture(tmp_path):
    """Dataset dict of an image that is red on the left and green on the right."""
    image = Image.new("RGB", (96, 64), (255, 0, 0))
    image.paste((0, 255, 0), (48, 0, 96, 64))
    image.save(tmp_path / "image.png")
    return {"file_name": str(tmp_path / "image.png"), "image_id": 7, "label": 3}


@pytest.fixture
def classifier_cfg(toy_root, tmp_path):
    return toy_setup("toy_1_pretrain_supernet", {**classification(toy_root), "OUTPUT_DIR": tmp_path})


@pytest.fixture
def detector_cfg(toy_root, tmp_path):
    return toy_setup("toy_2_train_supernet", {**detection(toy_root), "OUTPUT_DIR": tmp_path})


def first_of_training(cfg):
    return DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[0]


@pytest.mark.parametrize("is_train", [True, False])
def test_a_crop_has_the_size_asked_for_as_uint8_and_keeps_the_label(picture, is_train):
    result = ClassificationMapper(is_train, 32)(picture)
    assert result["image"].shape == (3, 32, 32)
    assert result["image"].dtype == torch.uint8
    assert (result["label"], result["image_id"]) == (3, 7)
    assert "image" not in picture


@pytest.mark.parametrize("image_format, red, green", [("BGR", 2, 1), ("RGB", 0, 1)])
def test_channels_come_in_the_order_of_the_format(picture, image_format, red, green):
    image = ClassificationMapper(False, 32, image_format)(picture)["image"]
    assert (image[red, :, 0] == 255).all() and (image[green, :, 0] == 0).all()
    assert (image[green, :, -1] == 255).all() and (image[red, :, -1] == 0).all()


def test_testing_takes_the_centre(picture):
    image = ClassificationMapper(False, 32)(picture)["image"]
    assert (image[2, :, :14] == 255).all() and (image[1, :, 18:] == 255).all()


def test_training_crops_flips_and_jitters_at_random(picture):
    torch.manual_seed(0)
    images = [ClassificationMapper(True, 32)(picture)["image"] for _ in range(20)]
    assert len({tuple(image.flatten().tolist()) for image in images}) == len(images)
    left_is_red = [bool(image[2, 16, 0] > image[1, 16, 0]) for image in images]
    assert True in left_is_red and False in left_is_red


def test_without_jitter_colours_stay(picture):
    torch.manual_seed(0)
    mapper = ClassificationMapper(True, 32, color_jitter=0)
    for image in (mapper(picture)["image"] for _ in range(10)):
        assert (image[0] == 0).all()
        # At the edge between the halves red and green are mixed.
        assert (image[1].int() + image[2].int() - 255).abs().max() <= 2


def test_a_mapper_follows_its_config(classifier_cfg):
    result = build_mapper(classifier_cfg, is_train=True)(first_of_training(classifier_cfg))
    size = classifier_cfg.INPUT.CLASSIFIER.SIZE
    assert result["image"].shape == (3, size, size)


def test_detection_trains_with_instances_and_tests_without(detector_cfg):
    sample = first_of_training(detector_cfg)
    train, test = (build_mapper(detector_cfg, is_train)(sample) for is_train in (True, False))
    assert len(train["instances"]) == len(sample["annotations"]) and "instances" not in test
    for result in (train, test):
        assert result["image"].shape == (3, 64, 64) and result["image"].dtype == torch.uint8


def test_a_recalibration_image_is_the_test_image_with_its_boxes(detector_cfg):
    sample = first_of_training(detector_cfg)
    result = build_recalibration_mapper(detector_cfg)(sample)
    assert torch.equal(result["image"], build_mapper(detector_cfg, is_train=False)(sample)["image"])
    assert len(result["instances"].gt_boxes) == len(sample["annotations"])
    assert result["instances"].gt_classes.tolist() == [ann["category_id"] for ann in sample["annotations"]]


def test_boxes_in_whole_pixels_are_scaled_without_rounding(detector_cfg):
    sample = first_of_training(detector_cfg)
    boxes = torch.tensor([ann["bbox"] for ann in sample["annotations"]]).float()
    boxes[:, 2:] += boxes[:, :2]
    assert (boxes % 2 == 1).any()
    result = build_recalibration_mapper(detector_cfg)(sample)
    # 128 pixels became 64.
    torch.testing.assert_close(result["instances"].gt_boxes.tensor, boxes / 2, rtol=0, atol=1e-4)


def test_a_classifier_recalibrates_on_centre_crops_with_labels(classifier_cfg):
    sample = first_of_training(classifier_cfg)
    result = build_recalibration_mapper(classifier_cfg)(sample)
    assert torch.equal(result["image"], build_mapper(classifier_cfg, is_train=False)(sample)["image"])
    assert result["label"] == sample["label"]


@pytest.fixture
def jittered(detector_cfg, tmp_path):
    """Function that maps, for training, an image of 96 x 64 with a white box, x 30 to 60 and y 20 to 50."""
    image = Image.new("RGB", (96, 64), (90, 90, 90))
    image.paste((255, 255, 255), (30, 20, 60, 50))
    image.save(tmp_path / "box.png")
    annotation = {"bbox": [30, 20, 60, 50], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}
    sample = {"file_name": str(tmp_path / "box.png"), "height": 64, "width": 96, "annotations": [annotation]}

    def run(size, scales, seed=0, **settings):
        cfg = detector_cfg.clone()
        cfg.defrost()
        cfg.INPUT.SCALE_JITTER.SIZE, cfg.INPUT.SCALE_JITTER.RANGE = size, scales
        for key, value in settings.items():
            cfg.merge_from_list([key.replace("__", "."), value])
        np.random.seed(seed)
        result = build_mapper(cfg, is_train=True)(sample)
        assert result["image"].shape == (3, *size)
        return result["image"][0].float(), result["instances"].gt_boxes.tensor

    return run


def test_a_small_scale_pads_at_the_right_and_below(jittered):
    image, boxes = jittered((64, 96), (0.5, 0.5), INPUT__RANDOM_FLIP="none")
    assert boxes.tolist() == [[15, 10, 30, 25]]
    assert image[17, 22] == 255 and image[2, 2] == 90
    assert (image[:32, :48] > 0).all() and (image[32:] == 0).all() and (image[:, 48:] == 0).all()


def test_padding_is_the_mean_which_the_model_takes_off(jittered):
    image, _ = jittered((64, 96), (0.5, 0.5), MODEL__PIXEL_MEAN=[100.0, 110.0, 120.0])
    assert (image[32:] == 110).all()


def test_an_image_keeps_its_proportions(jittered):
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


def test_test_images_and_those_of_a_recalibration_are_not_jittered(detector_cfg):
    cfg = detector_cfg.clone()
    cfg.defrost()
    cfg.INPUT.SCALE_JITTER.SIZE = (48, 48)
    sample = first_of_training(cfg)
    for mapper in (build_mapper(cfg, is_train=False), build_recalibration_mapper(cfg)):
        assert mapper(sample)["image"].shape == (3, 64, 64)
