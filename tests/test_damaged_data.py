"""Images that cannot be read, through the scripts: one sentence, the last thing that is printed, and exit code 2."""

import shutil

import pytest
from toy_runs import TASKS, classification, command, detection

import search_net
import train_net
from detnas.launch.setup import launch

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


def run(main, config, overrides, *flags):
    if main is search_net.main:
        main(command(config, overrides, *flags, parser=search_net.parser()))
    else:
        launch(main, command(config, overrides, *flags))


def test_a_training_ends_with_the_sentence(root, tmp_path, refused):
    files = damage(root / "classification" / "train")
    overrides = {**classification(root), "OUTPUT_DIR": tmp_path / "run", "DATALOADER.NUM_WORKERS": 1}
    words = refused(run, train_net.main, CLASSIFIER, overrides)
    assert any(words.startswith(f"{file} cannot be read as an image: ") for file in files)
    assert f"python tools/check_dataset.py folder:{root}/classification/train" in words


@pytest.mark.parametrize("task", list(TASKS))
def test_an_evaluation_during_a_training_ends_it_with_the_sentence(root, tmp_path, refused, task):
    config, data = TASKS[task]
    damage(root / "classification" / "val"), damage(root / "detection" / "val")
    overrides = {**data(root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": tmp_path / "run", "TEST.EVAL_PERIOD": 2}
    words = refused(run, train_net.main, config, {**overrides, "SOLVER.MAX_ITER": 4})
    assert "val" in words and "cannot be read as an image" in words


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_search_ends_with_the_sentence_and_not_with_failed_candidates(root, tmp_path, refused, split):
    # On Ray: search/test_ray.py.
    damage(root / "detection" / split)
    overrides = {**detection(root), "OUTPUT_DIR": tmp_path / "run", "DATALOADER.NUM_WORKERS": 1}
    words = refused(run, search_net.main, DETECTOR, overrides, "--random-weights")
    assert f", which {root}/detection/{split}.json names, cannot be read as an image: " in words
    assert len((tmp_path / "run" / "search.jsonl").read_text().splitlines()) == 1
