import gc
import re

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import coco_evaluation
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image
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


def classify(*scores_and_labels):
    evaluator = ClassificationEvaluator()
    evaluator.reset()
    scores, labels = zip(*scores_and_labels)
    evaluator.process([{"label": label} for label in labels], [{"scores": torch.tensor(s)} for s in scores])
    return evaluator


def test_top_1_and_top_5_are_shares_in_percent():
    scores = [0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05]
    evaluator = classify((scores, 0), (scores, 1), (scores, 4), (scores, 5))
    assert evaluator.evaluate() == {"classification": {"top1": 25.0, "top5": 75.0}}


def test_fewer_than_five_classes_are_all_in_the_top_5():
    evaluator = classify(([0.2, 0.8], 0), ([0.2, 0.8], 1))
    assert evaluator.evaluate()["classification"] == {"top1": 50.0, "top5": 100.0}


def test_counts_add_up_over_batches_until_reset():
    evaluator = classify(([0.2, 0.8], 1))
    evaluator.process([{"label": 0}], [{"scores": torch.tensor([0.2, 0.8])}])
    assert evaluator.evaluate()["classification"]["top1"] == 50.0
    evaluator.reset()
    evaluator.process([{"label": 1}], [{"scores": torch.tensor([0.2, 0.8])}])
    assert evaluator.evaluate()["classification"]["top1"] == 100.0


def test_ground_truth_has_an_ap_of_100(coco_name, voc_name):
    for name in (coco_name, voc_name):
        results = evaluate(name)["bbox"]
        assert [results[name] for name in ("AP", "AP50", "AP75")] == pytest.approx([100, 100, 100])


def test_other_classes_have_no_ap(coco_name, voc_name):
    assert evaluate(voc_name, next_class)["bbox"]["AP50"] < 20
    assert evaluate(coco_name, next_class)["bbox"]["AP"] < 5


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


def test_a_folder_of_classes_is_evaluated_by_accuracy(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "0.png")
    register_dataset(f"folder:{tmp_path}")
    assert isinstance(build_evaluator(f"folder:{tmp_path}"), ClassificationEvaluator)


def test_a_form_without_an_evaluator_is_an_error():
    MetadataCatalog.get("segments").set(evaluator_type="panoptic")
    with pytest.raises(ValueError, match='data set "segments": no evaluator for its form "panoptic"'):
        build_evaluator("segments")


def test_a_data_set_of_no_form_is_an_error():
    with pytest.raises(ValueError, match='no evaluator for its form "None"'):
        build_evaluator("never registered")


def test_real_annotations_have_an_ap_of_100_in_both_forms(data_dir):
    root = data_dir / "bccd_voc" / "VOCdevkit" / "VOC2007"
    json_file = data_dir / "bccd_voc" / "coco" / "annotations" / "instances_test.json"
    for name in (f"coco:{json_file}:{root}/JPEGImages", f"voc:{root}:test"):
        register_dataset(name)
        results = evaluate(name)["bbox"]
        assert results["AP50"] == pytest.approx(100) and results["AP"] > 99


def test_pycocotools_gives_the_same_figures_where_the_faster_library_is_missing(coco_name, monkeypatch):
    def shaken(instances):
        generator = torch.Generator().manual_seed(len(instances))
        boxes = instances.pred_boxes.tensor
        instances.pred_boxes.tensor = boxes + 2 * torch.randn(boxes.shape, generator=generator)
        instances.scores = torch.rand(len(boxes), generator=generator)
        return instances

    fast = evaluate(coco_name, shaken)
    monkeypatch.setattr(evaluation, "faster_coco_eval", None)
    monkeypatch.setattr(coco_evaluation, "COCOeval_opt", None)
    slow = evaluate(coco_name, shaken)
    assert fast["bbox"] == pytest.approx(slow["bbox"], abs=1e-9, nan_ok=True) and 5 < fast["bbox"]["AP"] < 95


def test_garbage_is_collected_again_after_an_evaluation(coco_name):
    assert gc.isenabled()
    evaluate(coco_name)
    assert gc.isenabled()


def test_objects_of_images_that_are_left_out_do_not_count_as_missed(coco_name, voc_name):
    for name in (coco_name, voc_name):
        part = read_test_images(name, 2)
        assert len(part) == 2 and evaluate(name, only=part)["bbox"]["AP50"] == pytest.approx(100)


def test_detections_can_be_evaluated_again(coco_name, voc_name):
    for name in (coco_name, voc_name):
        once, again = (evaluate(name, next_class, times=times)["bbox"] for times in (1, 2))
        assert once == pytest.approx(again, nan_ok=True)


def test_a_part_of_the_test_images_is_spread_evenly_and_always_the_same(toy_root):
    name = f"folder:{toy_root}/classification/val"
    register_dataset(name)
    whole = read_test_images(name)
    classes = sorted({image["label"] for image in whole})
    assert all(read_test_images(name, count) == whole for count in (0, len(whole), len(whole) + 1))
    part = read_test_images(name, len(classes))
    assert part == read_test_images(name, len(classes)) and [image["label"] for image in part] == classes
    assert any(read_test_images(name, len(classes), seed) != part for seed in range(1, 9))
