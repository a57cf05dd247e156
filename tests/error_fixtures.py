"""A script that is given what it cannot take: one sentence, exit code 2, and nothing that was there is changed."""

import json

import pytest
import torch
from detectron2.modeling import build_model
from toy_runs import command, detection, own_loggers, toy_setup, tree

import search_net
from detnas.command_line import argument_parser
from detnas.launch.setup import launch

#: whatever a script may leave
ANYTHING = None


@pytest.fixture
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
        model = build_model(toy_setup("toy_2_train_supernet", overrides))
    torch.save({"model": model.state_dict()}, tmp_path / "supernet.pth")
    return tmp_path / "supernet.pth"
