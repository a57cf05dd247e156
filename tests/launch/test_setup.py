import errno
import io
import json
import logging
import os
import sys

import pytest
import torch
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from toy_runs import DEMO, TASKS, classification, command, detection, own_loggers, toy_setup

from detnas import get_space
from detnas.config.load import load_config, without_unused
from detnas.errors import UserError, user_errors
from detnas.launch.setup import save_config, setup


@pytest.fixture
def overrides(toy_root, tmp_path):
    return {**classification(toy_root), "OUTPUT_DIR": tmp_path / "run"}


def message(*args):
    with pytest.raises(UserError) as caught:
        load_config(*args)
    return str(caught.value)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "own.yaml"


@pytest.mark.parametrize("arch", ["00000000", "21202112", "01", "0123-0000"])
def test_an_arch_of_digits_is_no_number(file, arch):
    words = ["MODEL.DETNAS.ARCH", arch]
    assert load_config(None, words).MODEL.DETNAS.ARCH == arch and words == ["MODEL.DETNAS.ARCH", arch]
    file.write_text(f'MODEL: {{DETNAS: {{ARCH: "{arch}"}}}}')
    assert load_config(str(file)).MODEL.DETNAS.ARCH == arch
    # What a search of a space of one stage writes.
    file.write_text(load_config(str(file)).dump())
    assert load_config(str(file)).MODEL.DETNAS.ARCH == arch


def test_later_overrides_win_over_the_file_and_nothing_is_fitted_to_the_machine():
    cfg = load_config(str(DEMO / "toy_2_train_supernet.yaml"), ["SOLVER.MAX_ITER", "7", "SOLVER.MAX_ITER", "9"])
    assert (cfg.SOLVER.MAX_ITER, cfg.MODEL.DETNAS.SPACE) == (9, "tiny")
    assert (cfg.MODEL.DEVICE, cfg.MODEL.FPN.NORM) == ("cuda", "SyncBN")
    words = message(None, ["SOLVER.MAX_ITER", "7", "OUTPUT_DIR"])
    assert "KEY VALUE pairs" in words and "SOLVER.MAX_ITER 7 OUTPUT_DIR" in words


@pytest.mark.parametrize("text, words", [
    *((text, "") for text in ("MODEL: [", "MODEL: 3", "- a\n- b", "just words", "")),
    ('_BASE_: "gone.yaml"', "gone.yaml"),
    ("MODEL: {DETNAS: {ARCH: 21301203}}", "MODEL.DETNAS.ARCH 21301203 is a number to yaml: put quotes around it"),
])
def test_a_config_file_that_is_none_is_named(file, text, words):
    file.write_text(text)
    said = message(str(file))
    assert str(file) in said and words in said


def test_a_config_file_that_would_run_code_is_refused_and_one_on_top_of_it(file, tmp_path):
    file.write_text(f'OUTPUT_DIR: !!python/object/apply:os.mkdir ["{tmp_path}/ran"]')
    assert str(file) in message(str(file))
    (tmp_path / "other.yaml").write_text('_BASE_: "own.yaml"')
    message(str(tmp_path / "other.yaml"))
    assert not (tmp_path / "ran").exists()


def test_the_number_of_classes_comes_from_the_data_and_data_sets_with_other_ones_are_named(toy_root, tmp_path):
    for name, data in TASKS.values():
        model = toy_setup(name, {**data(toy_root), "OUTPUT_DIR": tmp_path}).MODEL
        assert (model.ROI_HEADS.NUM_CLASSES, model.RETINANET.NUM_CLASSES, model.CLASSIFIER.NUM_CLASSES) == (4, 4, 4)
    data = json.loads((toy_root / "detection" / "val.json").read_text())
    data["categories"][3]["name"] = "star"
    (tmp_path / "val.json").write_text(json.dumps(data))
    test = f"coco:{tmp_path}/val.json:{toy_root}/detection/val"
    with pytest.raises(ValueError, match="have other classes.*cross.*star"):
        toy_setup("toy_2_train_supernet", {**detection(toy_root), "DATASETS.TEST": f"('{test}',)"})


def test_a_network_of_its_own_classes_is_tested_by_their_names(toy_root, tmp_path):
    test = f"coco:{toy_root}/detection/test.json:{toy_root}/detection/test"
    (tmp_path / "test.json").write_text((toy_root / "detection" / "test.json").read_text())
    turned = f"coco:{tmp_path}/test.json:{toy_root}/detection/test"
    toy_setup("toy_2_train_supernet", {"DATASETS.TRAIN": "()", "DATASETS.TEST": f"('{test}',)"})
    before = MetadataCatalog.get(test).thing_classes
    settings = {"DATASETS.TRAIN": "()", "DATASETS.TEST": f"('{turned}',)", "OUTPUT_DIR": tmp_path / "run"}
    toy_setup("toy_2_train_supernet", {**settings, "MODEL.DETNAS.CLASSES": str(before[::-1])})
    assert MetadataCatalog.get(turned).thing_classes == before[::-1]
    for image, other in zip(DatasetCatalog.get(test), DatasetCatalog.get(turned)):
        assert [3 - a["category_id"] for a in image["annotations"]] == [a["category_id"] for a in other["annotations"]]
    with pytest.raises(ValueError, match="MODEL.DETNAS.CLASSES.* and data set .* have other classes"):
        toy_setup("toy_2_train_supernet", {**settings, "MODEL.DETNAS.CLASSES": "['star']"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_uses_its_cpu(overrides):
    assert toy_setup("toy_1_pretrain_supernet", {**overrides, "MODEL.DEVICE": "cuda"}).MODEL.DEVICE == "cpu"


def test_a_run_is_frozen_and_its_config_saved(overrides, tmp_path):
    cfg = setup(command("toy_1_pretrain_supernet", overrides))
    assert cfg.is_frozen()
    save_config(cfg)
    again = load_config(str(tmp_path / "run" / "config.yaml"))
    assert yaml.safe_load(without_unused(again).dump()) == yaml.safe_load(without_unused(cfg).dump())


def test_a_run_starts_from_its_seed(overrides):
    numbers = []
    for seed in (3, 3, 4):
        toy_setup("toy_1_pretrain_supernet", {**overrides, "SEED": seed})
        numbers.append(torch.rand(1).item())
    assert numbers[0] == numbers[1] != numbers[2]


@pytest.mark.parametrize("arch", ["'21301203'", "\"'21301203'\""])
def test_the_arch_of_a_file_may_be_digits_alone(overrides, file, arch):
    file.write_text(f"MODEL: {{DETNAS: {{ARCH: {arch}, SPACE: tiny}}}}")
    cfg = toy_setup("toy_1_pretrain_supernet", {**overrides, "MODEL.DETNAS.ARCH": file})
    assert cfg.MODEL.DETNAS.ARCH == "21-30-12-03"


@pytest.mark.parametrize("text, words", [
    ("MODEL: {DETNAS: {SPACE: tiny}}", " holds no MODEL.DETNAS.ARCH"),
    *((text, ": not a yaml file of settings") for text in ("- 1", "", "{")),
    ("MODEL: {DETNAS: 3}", ": MODEL.DETNAS 3: it holds settings"),
    ("MODEL: {DETNAS: {SPACE: 1.3G, ARCH: DetNASNet-1.3G}}", ' is of space "1.3G"; this config is of space "tiny"'),
    (None, " does not exist; search_net.py writes it"),
])
def test_a_file_without_an_arch_for_the_space_is_named(overrides, file, text, words):
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=f"{file}{words}"):
        toy_setup("toy_1_pretrain_supernet", {**overrides, "MODEL.DETNAS.ARCH": file})


def test_names_in_other_scripts_than_those_of_the_locale_are_shown_as_escapes(overrides, monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    with own_loggers(), user_errors():
        print("細胞")
        toy_setup("toy_1_pretrain_supernet", overrides)
        (log,) = (handler.stream for handler in logging.getLogger("detnas").handlers if handler.stream is not shown)
        assert log.errors == "backslashreplace"
    shown.flush()
    assert shown.buffer.getvalue().decode().splitlines()[0] == "\\u7d30\\u80de"


def test_a_mistake_of_the_user_is_one_line_and_what_a_library_raises_keeps_its_traceback(refused):
    def with_user_errors(function, *args):
        with user_errors():
            function(*args)

    sentence = 'unknown space "300G"; there are: 300M, 1.3G, 3.8G, 1.3G-wide, 3.8G-wide, tiny'
    assert refused(with_user_errors, get_space, "300G") == sentence
    with pytest.raises(json.JSONDecodeError):
        with_user_errors(json.loads, "{")
    assert refused(with_user_errors, open, "a\0b") == "a path has a character 0, which none can have"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP])
def test_a_file_that_the_system_refuses_is_one_sentence(refused, number):
    def write():
        with user_errors():
            raise OSError(number, os.strerror(number), "run/a.pth")

    assert refused(write) == f"run/a.pth: {os.strerror(number)}"
