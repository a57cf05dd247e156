"""Images that cannot be read, through the scripts: one sentence, the last thing that is printed, and exit code 2."""

import shutil

import pytest
from toy_runs import TASKS, classification, command, detection, own_loggers, toy_setup

import search_net
import train_net
from detnas.launch.setup import launch
from detnas.training.trainer import build_trainer

CLASSIFIER, DETECTOR = "toy_1_pretrain_supernet", "toy_2_train_supernet"


@pytest.fixture
def root(toy_root, tmp_path):
    """A copy of the generated data, to be damaged."""
    return shutil.copytree(toy_root, tmp_path / "damaged")


def damage(folder):
    """Cut off all images of a folder, and give their paths."""
    files = [file for file in folder.rglob("*.jpg")]
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return files


@pytest.fixture
def fails(capfd):
    """Function that runs a script and expects one sentence, which it gives, and exit code 2."""

    def check(main, config, overrides, *flags, **kwargs):
        capfd.readouterr()
        with own_loggers(), pytest.raises(SystemExit) as caught:
            if main is search_net.main:
                main(command(config, overrides, *flags, parser=search_net.parser()))
            else:
                launch(main, command(config, overrides, *flags))
        out, err = capfd.readouterr()
        assert caught.value.code == 2 and "Traceback" not in out + err
        errors = [line.removeprefix("error: ") for line in err.splitlines() if line.startswith("error: ")]
        assert err.splitlines()[-1].endswith(errors[-1]) or "--cpu-processes" in flags
        return errors

    return check


def test_a_training_ends_with_the_sentence(root, tmp_path, fails):
    files = damage(root / "classification" / "train")
    overrides = {**classification(root), "OUTPUT_DIR": tmp_path / "run", "DATALOADER.NUM_WORKERS": 1}
    (words,) = fails(train_net.main, CLASSIFIER, overrides)
    source = f'data set "folder:{root}/classification/train"'
    assert any(words.startswith(f"{file}, which {source} names, cannot be read as an image: ") for file in files)


def test_several_processes_name_what_each_cannot_read(root, tmp_path, fails):
    files = damage(root / "detection" / "train")
    overrides = {**detection(root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path / "run", "DATALOADER.NUM_WORKERS": 1}
    errors = fails(train_net.main, DETECTOR, overrides, "--cpu-processes", "2")
    said = [f"{file}, which {root}/detection/train.json names, cannot be read as an image: " for file in files]
    assert errors and all(any(words.startswith(start) for start in said) for words in errors)


@pytest.mark.parametrize("task", list(TASKS))
def test_an_evaluation_during_a_training_ends_it_with_the_sentence(root, tmp_path, fails, task):
    config, data = TASKS[task]
    damage(root / "classification" / "val"), damage(root / "detection" / "val")
    overrides = {**data(root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path / "run", "TEST.EVAL_PERIOD": 2}
    (words,) = fails(train_net.main, config, {**overrides, "SOLVER.MAX_ITER": 4})
    assert "val" in words and "cannot be read as an image" in words


def test_an_evaluation_of_a_trained_network_ends_with_the_sentence(root, tmp_path, fails):
    overrides = {**classification(root), "MODEL.DETNAS.ARCH": "00000000", "OUTPUT_DIR": tmp_path / "run"}
    build_trainer(toy_setup(CLASSIFIER, {**overrides, "DATASETS.TEST": "()"})).train(0, 1)
    damage(root / "classification" / "val")
    (words,) = fails(train_net.main, CLASSIFIER, overrides, "--eval-only")
    assert f'data set "folder:{root}/classification/val"' in words


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_search_ends_with_the_sentence_and_not_with_failed_candidates(root, tmp_path, fails, split):
    # On Ray: search/test_ray.py.
    damage(root / "detection" / split)
    overrides = {**detection(root), "OUTPUT_DIR": tmp_path / "run", "DATALOADER.NUM_WORKERS": 1}
    (words,) = fails(search_net.main, DETECTOR, overrides, "--random-weights")
    assert f", which {root}/detection/{split}.json names, cannot be read as an image: " in words
    assert len((tmp_path / "run" / "search.jsonl").read_text().splitlines()) == 1


def test_an_evaluation_in_a_search_ends_with_the_sentence(root, tmp_path, fails):
    damage(root / "detection" / "train")
    overrides = {**detection(root), "OUTPUT_DIR": tmp_path / "run"}
    (words,) = fails(search_net.main, DETECTOR, overrides, "--random-weights", "--arch", "00000000")
    assert "train.json names" in words
