"""EuroCity Persons' label files as a data set, on made-up streets."""

import json
import math
import re

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from images import COUNTS, generate
from toy_runs import SHORT, SMALL_SEARCH, command, own_loggers

import search_net
from detnas.data.datasets import register_dataset
from detnas.data.ecp import read_ecp
from detnas.errors import UserError
from detnas.evaluation.evaluators import build_evaluator, reported_metrics


@pytest.fixture
def streets(tmp_path, monkeypatch):
    monkeypatch.setitem(COUNTS, "streets", {"day": {"train": 4}, "night": {"val": 2}})
    generate("streets", str(tmp_path / "streets"))
    return tmp_path / "streets"


def change(folder, label, **keys):
    """Change the first label of the first frame of a folder."""
    file = min(folder.rglob("*.json"))
    frame = json.loads(file.read_text())
    frame["children"] = [{**label, **keys}]
    file.write_text(json.dumps(frame))
    return file


PEDESTRIAN = {"identity": "pedestrian", "x0": 100, "y0": 50, "x1": 130, "y1": 150, "tags": [], "children": []}
BICYCLE = {**PEDESTRIAN, "identity": "bicycle", "x0": 90, "y1": 160}


@pytest.mark.parametrize("keys, expected", [
    ({}, [(0, 0)]), ({"identity": "rider"}, [(1, 0)]), ({"identity": "bicycle"}, []), ({"y1": 69}, [(0, 1)]),
    ({"tags": ["occluded>40", "truncated>10"]}, [(0, 0)]), ({"tags": ["occluded>80"]}, [(0, 1)]),
    ({"tags": ["occluded>²"]}, [(0, 0)]),
    ({"tags": ["sitting-lying"]}, [(0, 1)]), ({"identity": "person-group-far-away"}, [(0, 1)]),
    ({"identity": "person-group-far-away", "tags": ["depiction"]}, []),
    ({"identity": "rider+vehicle-group-far-away"}, [(1, 1)]),
])
def test_pedestrians_and_riders_are_classes_and_what_is_always_ignored_is_a_crowd(streets, keys, expected):
    change(streets / "day", PEDESTRIAN, **keys)
    found = read_ecp(str(streets), "day/train")
    assert found.classes == ("pedestrian", "rider") and len(found.images) == 4
    assert [(ann["category_id"], ann["iscrowd"]) for ann in found.images[0]["annotations"]] == expected


def test_a_riders_box_holds_its_vehicle_and_boxes_are_cut_at_the_image(streets):
    change(streets / "day", {**PEDESTRIAN, "identity": "rider", "children": [BICYCLE]})
    assert read_ecp(str(streets), "day/train").images[0]["annotations"][0]["bbox"] == [90, 50, 130, 160]
    change(streets / "day", {**PEDESTRIAN, "x0": -40, "children": [BICYCLE]})
    assert read_ecp(str(streets), "day/train").images[0]["annotations"][0]["bbox"] == [0, 50, 130, 150]


def test_what_is_odd_is_told_and_what_cannot_be_used_is_refused(streets):
    change(streets / "day", {**PEDESTRIAN, "identity": "dog"})
    label = max((streets / "day" / "labels").rglob("*.json"))
    label.unlink()
    said = " ".join(read_ecp(str(streets), "day/train").said)
    assert '"dog", which EuroCity Persons does not have, 1 times' in said
    assert "images without a label file, which are left out: 1" in said
    image = max((streets / "night" / "img").rglob("*.png"))
    image.unlink()
    with pytest.raises(UserError, match=re.escape(f"there is no image {image}")):
        read_ecp(str(streets), "night/val")
    with pytest.raises(UserError, match="labels/test does not exist; .* is to have a folder such as day/labels/train"):
        read_ecp(str(streets), "day/test")


def test_perfect_detections_miss_nothing_and_none_miss_all(streets):
    name = f"ecp:{streets}:day/train"
    assert register_dataset(name) == ["pedestrian", "rider"]
    assert MetadataCatalog.get(name).evaluator_type == "ecp" and "lamr/pedestrian-reasonable" in reported_metrics(name)
    for share, rate in ((1, 1e-8), (0, 100)):
        evaluator = build_evaluator(name, distributed=False)
        evaluator.reset()
        for image in DatasetCatalog.get(name):
            annotations = image["annotations"] * share
            found = Instances((image["height"], image["width"]))
            found.pred_boxes = Boxes(torch.tensor([ann["bbox"] for ann in annotations]).reshape(-1, 4))
            found.scores = torch.ones(len(annotations))
            found.pred_classes = torch.tensor([ann["category_id"] for ann in annotations], dtype=torch.long)
            evaluator.process([image], [{"instances": found}])
        results = evaluator.evaluate()
        rates = [value for value in results["lamr"].values() if not math.isnan(value)]
        assert len(rates) > 3 and rates == pytest.approx([rate] * len(rates))
        assert results["bbox"]["AP"] == pytest.approx(100 * share)


def test_a_search_minimises_a_miss_rate(streets, tmp_path, refused):
    settings = {**SHORT, **SMALL_SEARCH, "SEARCH.GENERATIONS": 1, "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path / "run",
                "DATASETS.TRAIN": f"('ecp:{streets}:day/train',)", "DATASETS.TEST": f"('ecp:{streets}:night/val',)"}

    def search(metric, *flags):
        settings["SEARCH.METRIC"] = metric
        args = command("toy_2_train_supernet", settings, "--random-weights", *flags, parser=search_net.parser())
        with own_loggers():
            return search_net.main(args)

    said = refused(search, "lamr/pedestrian-all")
    assert 'SEARCH.METRIC "lamr/pedestrian-all" is not reported' in said and "-lamr/pedestrian-all" in said
    log = search("-lamr/pedestrian-all")
    assert all(c.score == -c.metrics["lamr/pedestrian-all"] <= 0 for c in log.history())
    assert log.best()[0].metrics["lamr/pedestrian-all"] == min(c.metrics["lamr/pedestrian-all"] for c in log.history())
    search("-lamr/pedestrian-all", "--report")
    assert "-lamr/pedestrian-all" in (tmp_path / "run" / "report.html").read_text()
