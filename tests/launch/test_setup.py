import json
import os

import pytest
import torch
import yaml
from toy_runs import DEMO, TASKS, classification, command, detection, toy_setup

from detnas import get_space
from detnas.command_line import argument_parser
from detnas.config.load import load_config, without_unused
from detnas.errors import UserError, user_errors
from detnas.launch.setup import launch, save_config, setup


@pytest.fixture
def overrides(toy_root, tmp_path):
    return {**classification(toy_root), "OUTPUT_DIR": tmp_path / "run"}


def config_file(folder, text):
    path = folder / "config.yaml"
    path.write_text(text)
    return str(path)


def message(*args):
    with pytest.raises(UserError) as caught:
        load_config(*args)
    return str(caught.value)


@pytest.mark.parametrize("arch", ["00000000", "21202112", "01", "0123-0000"])
def test_an_arch_of_digits_on_the_command_line_is_no_number(arch):
    assert load_config(None, ["MODEL.DETNAS.ARCH", arch]).MODEL.DETNAS.ARCH == arch


def test_an_arch_of_digits_in_a_file_is_no_number(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text('MODEL: {DETNAS: {ARCH: "21301203"}}')
    assert load_config(str(file)).MODEL.DETNAS.ARCH == "21301203"
    # What a search of a space of one stage writes.
    file.write_text(load_config(str(file)).dump())
    assert load_config(str(file)).MODEL.DETNAS.ARCH == "21301203"


def test_an_arch_of_digits_without_quotes_is_an_error_that_asks_for_them(tmp_path):
    path = config_file(tmp_path, "MODEL: {DETNAS: {ARCH: 21301203}}")
    assert message(path).startswith(f"{path}: MODEL.DETNAS.ARCH 21301203 is a number to yaml: put quotes around it")


def test_later_overrides_win_over_the_file():
    cfg = load_config(str(DEMO / "toy_1_pretrain_supernet.yaml"), ["SOLVER.MAX_ITER", "7", "SOLVER.MAX_ITER", "9"])
    assert cfg.SOLVER.MAX_ITER == 9
    assert cfg.MODEL.DETNAS.SPACE == "tiny"


def test_loading_leaves_the_words_of_the_command_line_as_they_were():
    words = ["MODEL.DETNAS.ARCH", "00000000"]
    load_config(None, words)
    assert words == ["MODEL.DETNAS.ARCH", "00000000"]


def test_an_odd_number_of_overrides_shows_them():
    words = message(None, ["SOLVER.MAX_ITER", "7", "OUTPUT_DIR"])
    assert "KEY VALUE pairs" in words and "SOLVER.MAX_ITER 7 OUTPUT_DIR" in words


def test_a_missing_base_of_a_config_file_is_named(tmp_path):
    path = config_file(tmp_path, '_BASE_: "gone.yaml"')
    words = message(path)
    assert path in words and "gone.yaml" in words


@pytest.mark.parametrize("text", ["MODEL: [", "MODEL: 3", "- a\n- b", "just words", ""])
def test_a_config_file_that_is_none_is_named(tmp_path, text):
    path = config_file(tmp_path, text)
    assert path in message(path)


def test_a_config_file_that_would_run_code_is_refused_and_one_on_top_of_it(tmp_path):
    path = config_file(tmp_path, f'OUTPUT_DIR: !!python/object/apply:os.mkdir ["{tmp_path}/ran"]')
    assert path in message(path)
    (tmp_path / "other.yaml").write_text('_BASE_: "config.yaml"')
    message(str(tmp_path / "other.yaml"))
    assert not (tmp_path / "ran").exists()


def test_loading_fits_nothing_to_the_machine():
    cfg = load_config(str(DEMO / "toy_2_train_supernet.yaml"))
    assert (cfg.MODEL.DEVICE, cfg.MODEL.FPN.NORM) == ("cuda", "SyncBN")


def test_the_number_of_classes_comes_from_the_data(toy_root, tmp_path):
    for name, data in TASKS.values():
        model = toy_setup(name, {**data(toy_root), "OUTPUT_DIR": tmp_path}).MODEL
        assert (model.ROI_HEADS.NUM_CLASSES, model.RETINANET.NUM_CLASSES, model.CLASSIFIER.NUM_CLASSES) == (4, 4, 4)


def test_data_sets_with_other_classes_are_named(toy_root, tmp_path):
    data = json.loads((toy_root / "detection" / "val.json").read_text())
    data["categories"][3]["name"] = "star"
    (tmp_path / "val.json").write_text(json.dumps(data))
    test = f"coco:{tmp_path}/val.json:{toy_root}/detection/val"
    with pytest.raises(ValueError, match="have other classes.*cross.*star"):
        toy_setup("toy_2_train_supernet", {**detection(toy_root), "DATASETS.TEST": f"('{test}',)"})


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


@pytest.mark.parametrize("arch", ["2120", "00000009", "0000000x", "", "DetNASNet-1.3G", "DetNASNet"])
def test_an_arch_that_does_not_fit_is_named_with_its_key(overrides, arch, tmp_path):
    with pytest.raises(ValueError) as caught:
        setup(command("toy_1_pretrain_supernet", {**overrides, "MODEL.DETNAS.ARCH": arch}))
    assert f'MODEL.DETNAS.ARCH "{arch}"' in str(caught.value) and "tiny" in str(caught.value)
    assert not (tmp_path / "run").exists()


def best_yaml(folder, **detnas):
    path = folder / "best.yaml"
    path.write_text(yaml.safe_dump({"MODEL": {"DETNAS": detnas}}))
    return path


@pytest.mark.parametrize("arch", ["21301203", "'21301203'"])
def test_the_arch_of_a_file_may_be_digits_alone(overrides, tmp_path, arch):
    path = best_yaml(tmp_path, ARCH=arch, SPACE="tiny")
    cfg = toy_setup("toy_1_pretrain_supernet", {**overrides, "MODEL.DETNAS.ARCH": path})
    assert cfg.MODEL.DETNAS.ARCH == "21-30-12-03"


def test_a_search_of_another_space_does_not_give_the_arch(overrides, tmp_path):
    path = best_yaml(tmp_path, ARCH="2120-2112-33130031-3132", SPACE="300M")
    with pytest.raises(ValueError, match='is of space "300M"; this config is of space "tiny"'):
        toy_setup("toy_1_pretrain_supernet", {**overrides, "MODEL.DETNAS.ARCH": path})


def test_a_search_that_has_not_run_is_named(overrides, tmp_path):
    path = tmp_path / "best.yaml"
    with pytest.raises(UserError, match=f"{path} does not exist; search_net.py writes it"):
        toy_setup("toy_1_pretrain_supernet", {**overrides, "MODEL.DETNAS.ARCH": path})


@pytest.mark.parametrize(
    "text, words",
    [
        ("MODEL: {DETNAS: {SPACE: tiny}}", " holds no MODEL.DETNAS.ARCH"),
        *((text, ": not a yaml file of settings") for text in ("- 1", "", "{")),
        ("MODEL: {DETNAS: 3}", ": MODEL.DETNAS 3: it holds settings"),
    ],
)
def test_a_file_without_an_arch_is_named(overrides, tmp_path, text, words):
    path = tmp_path / "best.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path}{words}"):
        toy_setup("toy_1_pretrain_supernet", {**overrides, "MODEL.DETNAS.ARCH": path})


def test_a_mistake_of_the_user_is_one_line_and_exit_code_2(capsys):
    with pytest.raises(SystemExit) as caught, user_errors():
        get_space("300G")
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == 'error: unknown space "300G"; there are: 300M, 1.3G, 3.8G, 1.3G-wide, 3.8G-wide, tiny'


def test_what_a_library_raises_keeps_its_traceback():
    with pytest.raises(json.JSONDecodeError), user_errors():
        json.loads("{")


def test_a_run_without_processes_asked_for_is_this_process():
    pids = []
    launch(lambda args: pids.append((os.getpid(), args.opts)), argument_parser().parse_args(["SEED", "1"]))
    assert pids == [(os.getpid(), ["SEED", "1"])]
