import re

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import coco_evaluation
from detectron2.structures import Boxes, BoxMode, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from stand_in import write_voc

from detnas.data.datasets import register_dataset
from detnas.evaluation import evaluators as evaluation
from detnas.evaluation.evaluators import ClassificationEvaluator, build_evaluator, read_test_images


@pytest.fixture
def coco_name(toy_root):
    name = f"coco:{toy_root}/detection/val.json:{toy_root}/detection/val"
    register_dataset(name)
    return name


@pytest.fixture(params=["VOC2007", "VOC2012"])
def voc_name(tmp_path, request):
    write_voc(tmp_path, images=4, classes=("cat", "cow", "dog", "horse"))
    name = f"voc:{tmp_path}/{request.param}:trainval"
    register_dataset(name)
    return name


def evaluate(name, change=lambda instances: instances, only=None, times=1):
    """Results when the predictions are the ground truth, changed by a function; of the images ``only`` where given."""
    evaluator = build_evaluator(name, distributed=False)
    evaluator.reset()
    for image in DatasetCatalog.get(name) if only is None else only:
        boxes = [BoxMode.convert(ann["bbox"], ann["bbox_mode"], BoxMode.XYXY_ABS) for ann in image["annotations"]]
        instances = Instances((image["height"], image["width"]))
        instances.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
        instances.scores = torch.full((len(boxes),), 0.9)
        instances.pred_classes = torch.tensor([ann["category_id"] for ann in image["annotations"]])
        evaluator.process([image], [{"instances": change(instances)}])
    return [evaluator.evaluate() for _ in range(times)][-1]


def next_class(instances):
    instances.pred_classes = (instances.pred_classes + 1) % 4
    return instances


def a_third_to_the_right(instances):
    boxes = instances.pred_boxes.tensor
    shift = (boxes[:, 2] - boxes[:, 0]) / 3
    instances.pred_boxes.tensor = boxes + torch.stack([shift, 0 * shift, shift, 0 * shift], dim=1)
    return instances


def test_top_1_and_top_5_are_shares_in_percent_over_all_batches_until_reset(toy_root):
    name = f"folder:{toy_root}/classification/val"
    register_dataset(name)
    evaluator = build_evaluator(name)
    assert isinstance(evaluator, ClassificationEvaluator)
    few, many = [0.2, 0.8], [0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05]
    # Fewer than five classes are all in the top 5.
    for scores, labels, expected in ((few, (0, 1), (50, 100)), (many, (0, 1, 4, 5), (25, 75))):
        evaluator.reset()
        for label in labels:
            evaluator.process([{"label": label}], [{"scores": torch.tensor(scores)}])
        assert evaluator.evaluate() == {"classification": {"top1": expected[0], "top5": expected[1]}}


def test_ground_truth_has_an_ap_of_100_and_other_classes_have_none(coco_name, voc_name):
    for name in (coco_name, voc_name):
        results = evaluate(name)["bbox"]
        assert [results[name] for name in ("AP", "AP50", "AP75")] == pytest.approx([100, 100, 100])
        # Objects of images that are left out do not count as missed.
        part = read_test_images(name, 2)
        assert len(part) == 2 and evaluate(name, only=part)["bbox"]["AP50"] == pytest.approx(100)
        # Detections can be evaluated again.
        once, again = (evaluate(name, next_class, times=times)["bbox"] for times in (1, 2))
        assert once == pytest.approx(again, nan_ok=True) and once["AP50"] < 20


def test_an_overlap_of_a_half_counts_for_ap50_alone_in_coco_form(coco_name):
    # A third to the right leaves an overlap of (2/3) / (4/3).
    results = evaluate(coco_name, a_third_to_the_right)["bbox"]
    assert results["AP75"] == 0 and results["AP"] < results["AP50"]


@pytest.mark.parametrize(
    "pattern, other",
    [("<(pose|truncated|difficult)>[^<]*</[^>]*>", ""), (r"<((?:x|y)m\w+)>(\d+)</", r"<\1>\2.0</")],
    ids=["without pose, truncated and difficult", "with fractions of pixels"],
)
def test_own_voc_annotations_need_not_look_like_pascals(voc_name, tmp_path, pattern, other):
    for file in tmp_path.glob("*/Annotations/*.xml"):
        text = file.read_text()
        file.write_text(re.sub(pattern, other, text))
        assert file.read_text() != text
    assert evaluate(voc_name)["bbox"]["AP"] == pytest.approx(100)


def test_a_form_without_an_evaluator_is_an_error():
    MetadataCatalog.get("segments").set(evaluator_type="panoptic")
    for name, form in (("segments", "panoptic"), ("never registered", "None")):
        with pytest.raises(ValueError, match=f'data set "{name}": no evaluator for its form "{form}"'):
            build_evaluator(name)


def test_pycocotools_gives_the_same_figures(coco_name, monkeypatch):
    def shaken(instances):
        generator = torch.Generator().manual_seed(len(instances))
        boxes = instances.pred_boxes.tensor
        instances.pred_boxes.tensor = boxes + 2 * torch.randn(boxes.shape, generator=generator)
        instances.scores = torch.rand(len(boxes), generator=generator)
        return instances

    fast = evaluate(coco_name, shaken)

    def pycocotools(dataset):
        api = COCO()
        api.dataset = dataset
        api.createIndex()
        return api

    monkeypatch.setattr(evaluation.faster_coco_eval, "COCO", pycocotools)
    monkeypatch.setattr(coco_evaluation, "COCOeval_opt", COCOeval)
    slow = evaluate(coco_name, shaken)
    assert fast["bbox"] == pytest.approx(slow["bbox"], abs=1e-9, nan_ok=True) and 5 < fast["bbox"]["AP"] < 95


def test_a_part_of_the_test_images_is_spread_evenly_and_always_the_same(toy_root):
    name = f"folder:{toy_root}/classification/val"
    register_dataset(name)
    whole = read_test_images(name)
    classes = sorted({image["label"] for image in whole})
    assert all(read_test_images(name, count) == whole for count in (0, len(whole), len(whole) + 1))
    part = read_test_images(name, len(classes))
    assert part == read_test_images(name, len(classes)) and [image["label"] for image in part] == classes
    assert any(read_test_images(name, len(classes), seed) != part for seed in range(1, 9))
