"""Bad input, through the scripts: one sentence on stderr, exit code 2, and what was there stays as it was."""

import json

import pytest
import torch
from detectron2.modeling import build_model
from toy_runs import classification, command, detection, own_loggers, toy_setup, tree

import search_net
import train_net
from detnas import get_space
from detnas.engine.setup import argument_parser, launch
from detnas.search.log import Candidate, SearchLog

pytest_plugins = ["toy_fixtures"]
ANYTHING = None
CLASSIFIER, DETECTOR = "toy_1_pretrain_supernet", "toy_2_train_supernet"


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch):
    """Output folder of the run, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


@pytest.fixture
def fails(capsys, tmp_path):
    """Function that runs a script, expects one sentence and exit code 2, and gives the sentence."""

    def check(script, *args, leaves=()):
        parser = search_net.parser() if script is search_net else argument_parser()
        before = {name: content for name, content in tree(tmp_path).items() if not name.endswith("log.txt")}
        capsys.readouterr()
        with own_loggers(), pytest.raises(SystemExit) as caught:
            if script is search_net:
                search_net.main(command(*args, parser=parser))
            else:
                launch(script.main, command(*args, parser=parser))
        assert caught.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        after = tree(tmp_path)
        # The lock's file says whose it was last.
        assert {name for name in before if after.get(name) != before[name]} <= {"run/run.lock"}
        new = {name.removeprefix("run/") for name in set(after) - set(before) if name.startswith("run/")}
        assert leaves is ANYTHING or new <= set(leaves)
        return line.removeprefix("error: ")

    return check


@pytest.fixture
def spoilt(toy_root, tmp_path):
    """Function that changes the training json and gives the overrides for it, with the json's path."""

    def spoil(change):
        data = json.loads((toy_root / "detection" / "train.json").read_text())
        change(data)
        path = tmp_path / "spoilt.json"
        path.write_text(json.dumps(data))
        return path, {**detection(toy_root), "DATASETS.TRAIN": f"('coco:{path}:{toy_root}/detection/train',)"}

    return spoil


@pytest.fixture
def supernet(toy_root, tmp_path):
    """Checkpoint of a detector with random weights."""
    overrides = {**detection(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path / "other"}
    with own_loggers():
        model = build_model(toy_setup(DETECTOR, overrides))
    torch.save({"model": model.state_dict()}, tmp_path / "supernet.pth")
    return tmp_path / "supernet.pth"


@pytest.mark.parametrize("script", [train_net, search_net])
@pytest.mark.parametrize("config", [CLASSIFIER, DETECTOR])
def test_a_missing_data_folder_says_what_is_missing_and_make_demo(fails, run, script, config):
    words = fails(script, config, {"OUTPUT_DIR": run})
    assert "datasets/toy/" in words and "does not exist" in words and "`make demo`" in words


def test_a_missing_data_folder_of_ones_own_is_named(fails, run, tmp_path):
    data = {"DATASETS.TRAIN": f"('folder:{tmp_path}/gone',)", "DATASETS.TEST": "()"}
    words = fails(train_net, CLASSIFIER, {**data, "OUTPUT_DIR": run})
    assert f"{tmp_path}/gone does not exist" in words and "make demo" not in words


@pytest.mark.parametrize("arch, reason", [("2120", "4 blocks"), ("0000000000", "10 blocks"), ("00000009", "op 9")])
def test_an_arch_that_does_not_fit_is_explained_in_training(fails, run, toy_root, arch, reason):
    overrides = {**classification(toy_root), "OUTPUT_DIR": run, "MODEL.DETNAS.ARCH": arch}
    words = fails(train_net, CLASSIFIER, overrides)
    assert f'MODEL.DETNAS.ARCH "{arch}"' in words and reason in words and 'space "tiny" has' in words


@pytest.mark.parametrize("arch, reason", [("2120", "4 blocks"), ("00000009", "op 9"), ("DetNAS", "not an arch")])
def test_an_arch_that_does_not_fit_is_explained_in_evaluation(fails, run, toy_root, supernet, arch, reason):
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": supernet}
    words = fails(search_net, DETECTOR, overrides, "--arch", arch, leaves=["log.txt"])
    assert f'--arch "{arch}"' in words and reason in words and '"tiny"' in words


def test_an_unknown_space_lists_the_spaces(fails, run, toy_root):
    overrides = {**classification(toy_root), "OUTPUT_DIR": run, "MODEL.DETNAS.SPACE": "300G"}
    sentence = 'unknown space "300G"; there are: 300M, 1.3G, 3.8G, 1.3G-wide, 3.8G-wide, tiny, own'
    assert fails(train_net, CLASSIFIER, overrides) == sentence


def test_an_unknown_key_is_named(fails, run):
    assert "SEARCH.POPULATIONS" in fails(search_net, DETECTOR, {"OUTPUT_DIR": run, "SEARCH.POPULATIONS": 5})


def test_an_unknown_key_in_a_file_is_named_with_the_file(fails, tmp_path):
    (tmp_path / "own.yaml").write_text("SEARCH: {POPULATIONS: 5}")
    words = fails(train_net, tmp_path / "own.yaml", {})
    assert "SEARCH.POPULATIONS" in words and "own.yaml" in words


def test_a_missing_config_file_is_named(fails, tmp_path):
    assert fails(train_net, tmp_path / "gone.yaml", {}) == f"config file {tmp_path}/gone.yaml does not exist"


def test_an_odd_number_of_words_is_explained(capsys):
    with pytest.raises(SystemExit) as caught:
        launch(train_net.main, argument_parser().parse_args(["--config-file", "", "SOLVER.MAX_ITER"]))
    assert caught.value.code == 2
    assert "KEY VALUE" in capsys.readouterr().err


def test_an_option_after_the_overrides_is_explained(capsys):
    words = ["--config-file", "", "SOLVER.MAX_ITER", "3", "--eval-only", "SEED", "1"]
    with pytest.raises(SystemExit) as caught:
        launch(train_net.main, argument_parser().parse_args(words))
    assert caught.value.code == 2
    assert "--eval-only stands among the KEY VALUE overrides; options go before them" in capsys.readouterr().err


@pytest.mark.parametrize("script", [train_net, search_net])
def test_a_json_with_an_image_that_does_not_exist_names_file_and_id(fails, run, spoilt, script):
    path, overrides = spoilt(lambda data: data["images"][2].update(file_name="gone.jpg"))
    words = fails(script, DETECTOR, {**overrides, "OUTPUT_DIR": run})
    assert f"{path}: image 3: gone.jpg is not in" in words


@pytest.mark.parametrize("script", [train_net, search_net])
def test_a_json_with_a_box_outside_its_image_names_file_and_id(fails, run, spoilt, script):
    path, overrides = spoilt(lambda data: data["annotations"][4].update(bbox=[100, 100, 40, 10]))
    words = fails(script, DETECTOR, {**overrides, "OUTPUT_DIR": run})
    assert f"{path}: annotation 5: box [100, 100, 40, 10]" in words and "outside its image" in words


@pytest.mark.parametrize("script", [train_net, search_net])
def test_a_json_with_a_category_out_of_range_names_file_and_id(fails, run, spoilt, script):
    path, overrides = spoilt(lambda data: data["annotations"][4].update(category_id=77))
    words = fails(script, DETECTOR, {**overrides, "OUTPUT_DIR": run})
    assert words == f"{path}: annotation 5: category 77 is not among the categories"


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="this machine has that many GPUs")
@pytest.mark.parametrize("script", [train_net, search_net])
def test_more_gpus_than_there_are_is_an_error(fails, run, script):
    words = fails(script, DETECTOR, {"OUTPUT_DIR": run}, "--num-gpus", "8")
    assert f"--num-gpus 8: this machine has {torch.cuda.device_count()} GPUs" in words


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_error_says_how_to_start_processes(fails, run):
    assert "--cpu-processes" in fails(train_net, DETECTOR, {"OUTPUT_DIR": run}, "--num-gpus", "2")


def test_several_machines_need_a_url_and_in_a_search_ray(fails, run):
    assert "SEARCH.RAY_ADDRESS" in fails(search_net, DETECTOR, {"OUTPUT_DIR": run}, "--num-machines", "2")
    words = fails(train_net, DETECTOR, {"OUTPUT_DIR": run}, "--num-machines", "2")
    assert "--num-machines 2 needs --dist-url tcp://HOST:PORT" in words


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_several_machines_need_gpus(fails, run):
    flags = ["--num-machines", "2", "--dist-url", "tcp://127.0.0.1:29500"]
    assert "needs GPUs on each" in fails(train_net, DETECTOR, {"OUTPUT_DIR": run}, *flags)


def test_a_limit_that_no_network_meets_says_what_the_smallest_has(fails, run, toy_root, supernet):
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": supernet}
    limit = {"SEARCH.CONSTRAINTS": "('backbone_flops <= 1e6',)"}
    words = fails(search_net, DETECTOR, {**overrides, **limit}, leaves=["log.txt"])
    assert 'no path of "tiny" has at most 1.0M backbone_flops; the smallest has ' in words


def test_a_limit_that_cannot_be_read_is_shown(fails, run, toy_root, supernet):
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": supernet}
    for limit, reason in (("flops < 3", "backbone_flops <= 300e6"), ("latency <= 3", 'unknown metric "latency"')):
        constraints = {"SEARCH.CONSTRAINTS": f"('{limit}',)"}
        words = fails(search_net, DETECTOR, {**overrides, **constraints}, leaves=["log.txt"])
        assert f'constraint "{limit}"' in words and reason in words


def test_a_search_without_a_trained_supernet_says_how_to_get_one(fails, run, toy_root):
    words = fails(search_net, DETECTOR, {**detection(toy_root), "OUTPUT_DIR": run}, leaves=["log.txt"])
    assert f"no trained network at {run}/model_final.pth: train it with train_net.py, or give MODEL.WEIGHTS" in words


def test_an_evaluation_of_the_best_without_a_search_is_an_error(fails, run, toy_root, supernet):
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": supernet}
    words = fails(search_net, DETECTOR, overrides, "--eval-only", leaves=["log.txt"])
    assert f"{run}/search.jsonl" in words and "search_net.py writes it" in words


def test_weights_that_do_not_exist_are_named(fails, run, toy_root, tmp_path):
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": tmp_path / "gone.pth"}
    assert f"weights {tmp_path}/gone.pth do not exist" in fails(train_net, DETECTOR, overrides, leaves=ANYTHING)


def test_weights_that_do_not_match_list_the_first_names(fails, run, toy_root, supernet):
    state = torch.load(supernet, weights_only=True)["model"]
    block = "backbone.bottom_up.stage2.1.3."
    gone = [name for name in state if name.startswith(block) and not name.endswith("num_batches_tracked")]
    torch.save({"model": {name: value for name, value in state.items() if name not in gone}}, supernet)
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": supernet}
    for script in (train_net, search_net):
        words = fails(script, DETECTOR, overrides, leaves=ANYTHING)
        assert f"weights {supernet} do not match the model" in words
        assert f"{len(gone)} names are missing in the file ({', '.join(gone[:3])}, ...)" in words


def test_weights_of_something_else_are_refused(fails, run, toy_root, tmp_path):
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": tmp_path / "other.pth"}
    words = fails(train_net, DETECTOR, overrides, leaves=ANYTHING)
    assert f"weights {tmp_path}/other.pth do not match the model" in words and "fc.weight" in words


def test_a_file_that_is_no_checkpoint_is_refused(fails, run, toy_root, tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": tmp_path / "text.pth"}
    assert f"weights {tmp_path}/text.pth cannot be read" in fails(train_net, DETECTOR, overrides, leaves=ANYTHING)


@pytest.mark.parametrize("there", [False, True])
def test_a_training_that_cannot_start_leaves_nothing_but_its_log(fails, run, toy_root, tmp_path, there):
    if there:
        run.mkdir()
        (run / "config.yaml").write_text('MODEL: {DETNAS: {SPACE: "tiny"}}\n')
        (run / "model_final.pth").write_bytes(b"weights of days")
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": tmp_path / "gone.pth"}
    fails(train_net, DETECTOR, overrides, leaves=["log.txt", "run.lock"])


def test_an_output_folder_of_a_training_in_another_space_is_refused(fails, run, toy_root):
    run.mkdir()
    (run / "config.yaml").write_text('MODEL: {DETNAS: {SPACE: "300M"}}\n')
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": ""}
    for script in (train_net, search_net):
        words = fails(script, DETECTOR, overrides)
        assert f"OUTPUT_DIR {run}" in words and '"300M"' in words and '"tiny"' in words


def test_an_output_folder_of_a_search_in_another_space_is_refused(fails, run, toy_root, supernet):
    run.mkdir()
    space = get_space("300M")
    SearchLog(str(run), space, {"space": "300M"}).append(Candidate((0,) * 20, score=1.0))
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": supernet}
    for flags in ((), ("--eval-only",)):
        words = fails(search_net, DETECTOR, overrides, *flags, leaves=["log.txt"])
        assert f'{run}/search.jsonl is a search of space "300M"; this one is of "tiny"' in words


def test_a_search_with_other_settings_is_refused(fails, run, toy_root, supernet):
    run.mkdir()
    log = SearchLog(str(run), get_space("tiny"), {"space": "tiny", "seed": 7})
    log.append(Candidate((0,) * 8, 0, 1.0))
    log.close()
    overrides = {**detection(toy_root), "OUTPUT_DIR": run, "MODEL.WEIGHTS": supernet}
    words = fails(search_net, DETECTOR, overrides, leaves=["log.txt"])
    assert "seed was 7 and is 0" in words and "OUTPUT_DIR" in words
