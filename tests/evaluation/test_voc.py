import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import PascalVOCDetectionEvaluator
from detectron2.structures import Boxes, Instances
from stand_in import use_root, write_voc
from voc_guesses import FEW, guess, process

from detnas.data.datasets import register_dataset
from detnas.evaluation.voc import VOCEvaluator


def evaluate(name):
    register_dataset(name)
    return process(VOCEvaluator(name), DatasetCatalog.get(name)).evaluate()["bbox"]


def detectron2s(name, dirname, split):
    """What Detectron2's evaluator, which reads the files once more, says of the same detections."""
    metadata = MetadataCatalog.get(name)
    known = {"thing_classes": metadata.thing_classes, "year": metadata.year}
    MetadataCatalog.get(f"{name} once more").set(dirname=str(dirname), split=split, **known)
    dicts = [{**image, "image_id": Path(image["file_name"]).stem} for image in DatasetCatalog.get(name)]
    return process(PascalVOCDetectionEvaluator(f"{name} once more"), dicts).evaluate()["bbox"]


@pytest.mark.parametrize("year, split", [("VOC2007", "test"), ("VOC2012", "trainval")])
def test_the_figures_are_detectron2s_where_all_classes_are_there(tmp_path, year, split):
    write_voc(tmp_path, classes=FEW)
    name = f"voc:{tmp_path}/{year}:{split}"
    ours, theirs = evaluate(name), detectron2s(name, tmp_path / year, split)
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
    assert detectron2s(name, tmp_path / "VOC2007", "test")["AP50"] != pytest.approx(before["AP50"])


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
    write_voc(tmp_path)
    for file in (tmp_path / "VOC2007" / "Annotations").iterdir():
        file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))
    own, evaluators = f"voc:{tmp_path}/own/VOC2012:trainval", []
    none = Instances((9, 9), pred_boxes=Boxes(torch.zeros(0, 4)), scores=torch.zeros(0), pred_classes=torch.zeros(0))
    for name in (own, "voc_2007_test"):
        register_dataset(name)
        evaluators.append(VOCEvaluator(name))
        for image in DatasetCatalog.get(name):
            evaluators[-1].process([image], [{"instances": none}])
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
    register_dataset("voc_0712_trainval")
    joined = evaluate("voc_0712_trainval")
    assert 5 < joined["AP"] < 95
    assert joined == pytest.approx(evaluate(f"voc:{merged}:trainval"), abs=1e-9)


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
    file.write_text("".join(f"{Path(d['file_name']).stem}\n" for d in dicts[::2]))
    other = f"voc:{tmp_path}/{year}:half"
    register_dataset(other)
    numbered = [{**d, "image_id": number // 2 + 1} for number, d in enumerate(dicts)]
    assert half == process(VOCEvaluator(other), numbered, step=2).evaluate()["bbox"]
