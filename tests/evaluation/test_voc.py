import logging
import shutil

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_voc_instances
from detectron2.evaluation import PascalVOCDetectionEvaluator
from detectron2.structures import Boxes, Instances
from stand_in import use_root, write_voc
from voc_guesses import FEW, guess, process

from detnas.data.datasets import register_dataset
from detnas.data.voc import read_ids
from detnas.evaluation.voc import VOCEvaluator


def evaluate(name, kind=VOCEvaluator):
    register_dataset(name)
    return process(kind(name), DatasetCatalog.get(name)).evaluate()["bbox"]


@pytest.mark.parametrize("year, split", [("VOC2007", "test"), ("VOC2012", "trainval")])
def test_the_figures_are_detectron2s_where_all_classes_are_there(tmp_path, year, split):
    write_voc(tmp_path, classes=FEW)
    name = f"voc:{tmp_path}/{year}:{split}"
    ours, theirs = evaluate(name), evaluate(name, PascalVOCDetectionEvaluator)
    assert 5 < theirs["AP"] < 95
    assert {metric: ours[metric] for metric in ("AP", "AP50", "AP75")} == pytest.approx(theirs, abs=1e-9)


def test_a_class_without_objects_is_left_out_of_the_mean_over_the_classes(tmp_path):
    write_voc(tmp_path, classes=FEW)
    name = f"voc:{tmp_path}/VOC2007:test"
    before = evaluate(name)
    assert before["AP50"] == pytest.approx(np.mean([before[f"AP50-{name}"] for name in FEW]))
    # Listed, but in no image of this split.
    MetadataCatalog.get(name).thing_classes.append("unicorn")
    assert evaluate(name) == before
    assert evaluate(name, PascalVOCDetectionEvaluator)["AP50"] != pytest.approx(before["AP50"])


def test_a_class_with_difficult_objects_alone_is_left_out_of_the_mean(tmp_path):
    write_voc(tmp_path, classes=FEW)
    for file in (tmp_path / "VOC2007" / "Annotations").iterdir():
        objects = file.read_text().split("<object>")
        changed = [x.replace("<difficult>0", "<difficult>1") if "<name>cat" in x else x for x in objects]
        file.write_text("<object>".join(changed))
    results = evaluate(f"voc:{tmp_path}/VOC2007:test")
    assert "AP50-cat" not in results
    assert results["AP50"] == pytest.approx((results["AP50-dog"] + results["AP50-horse"]) / 2)


def test_classes_left_out_are_named_once(tmp_path, monkeypatch, caplog):
    use_root(monkeypatch, tmp_path)
    write_voc(tmp_path, classes=FEW)
    with caplog.at_level(logging.WARNING, "detnas.evaluation.voc"):
        evaluate("voc_2007_test")
        evaluate("voc_2007_test")
    (record,) = [r for r in caplog.records if "left out of the mean" in r.message]
    assert "17 of 20 classes" in record.message and "aeroplane, bicycle" in record.message


def test_nothing_detected_is_an_ap_of_0_nothing_seen_none_and_a_set_without_objects_an_error(tmp_path, monkeypatch):
    use_root(monkeypatch, tmp_path)
    write_voc(tmp_path / "own", classes=FEW)
    write_voc(tmp_path, classes=("unicorn",))
    own, evaluators = f"voc:{tmp_path}/own/VOC2012:trainval", []
    none = Instances((9, 9), pred_boxes=Boxes(torch.zeros(0, 4)), scores=torch.zeros(0), pred_classes=torch.zeros(0))
    for name in (own, "voc_2007_test"):
        register_dataset(name)
        evaluators.append(VOCEvaluator(name))
        metadata = MetadataCatalog.get(name)
        for image_id in read_ids(metadata.dirname, metadata.split):
            evaluators[-1].process([{"image_id": image_id}], [{"instances": none}])
    results = evaluators[0].evaluate()["bbox"]
    assert set(results.values()) == {0.0} and set(results) >= {"AP", "AP50", "AP75", "AP50-cat"}
    with pytest.raises(ValueError, match='data set "voc_2007_test": no image has an object of its classes'):
        evaluators[1].evaluate()
    evaluators[0].reset()
    assert np.isnan(evaluators[0].evaluate()["bbox"]["AP"])


def test_a_joined_set_has_the_figures_of_one_merged_folder(tmp_path, monkeypatch):
    use_root(monkeypatch, tmp_path)
    write_voc(tmp_path)
    merged = tmp_path / "merged" / "VOC2007"
    ids = []
    for year in ("VOC2007", "VOC2012"):
        for folder in ("Annotations", "JPEGImages"):
            shutil.copytree(tmp_path / year / folder, merged / folder, dirs_exist_ok=True)
        ids.append((tmp_path / year / "ImageSets" / "Main" / "trainval.txt").read_text())
    (merged / "ImageSets" / "Main").mkdir(parents=True)
    (merged / "ImageSets" / "Main" / "trainval.txt").write_text("".join(ids))
    # Under a name of its own, with Detectron2's order of the classes, so that the guesses are the same.
    classes = register_dataset("voc_0712_trainval")
    DatasetCatalog.register("merged", lambda: load_voc_instances(str(merged), "trainval", classes))
    MetadataCatalog.get("merged").set(thing_classes=classes, dirname=str(merged), split="trainval", year=2007)
    joined = evaluate("voc_0712_trainval")
    assert 5 < joined["AP"] < 95
    assert joined == pytest.approx(evaluate("merged"), abs=1e-9)


def test_the_order_in_which_images_come_does_not_matter(tmp_path):
    write_voc(tmp_path, classes=FEW)
    name = f"voc:{tmp_path}/VOC2007:test"
    register_dataset(name)
    images = DatasetCatalog.get(name)
    found = []
    for order in (range(len(images)), reversed(range(len(images)))):
        evaluator = VOCEvaluator(name)
        for number in order:
            instances = guess(images[number], number)
            # Many ties: what comes first of them decides.
            instances.scores = (instances.scores * 3).round() / 3
            evaluator.process([images[number]], [{"instances": instances}])
        found.append(evaluator.evaluate())
    assert found[0] == found[1]


@pytest.mark.parametrize("year, split", [("VOC2007", "test"), ("VOC2012", "trainval")])
def test_the_images_that_count_are_those_that_were_seen(tmp_path, year, split):
    write_voc(tmp_path, classes=FEW)
    name = f"voc:{tmp_path}/{year}:{split}"
    register_dataset(name)
    dicts = DatasetCatalog.get(name)
    half = process(VOCEvaluator(name), dicts, step=2).evaluate()["bbox"]
    file = tmp_path / year / "ImageSets" / "Main" / "half.txt"
    file.write_text("".join(f"{d['image_id']}\n" for d in dicts[::2]))
    other = f"voc:{tmp_path}/{year}:half"
    register_dataset(other)
    assert half == process(VOCEvaluator(other), dicts, step=2).evaluate()["bbox"]
