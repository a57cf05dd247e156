"""Where each command writes: what cannot be written to is one sentence, and what was there stays as it was."""

import os

import pytest
from scripts import script
from toy_runs import DEMO, classification
from toy_runs import command as command_of
from toy_runs import own_loggers, tree

import train_net
from detnas.launch.setup import launch
from detnas.report.command import main as report
from find_detector.__main__ import main as find_detector

#: of a network that need not be trained
NETWORK = ("MODEL.DETNAS.ARCH", "00000000", "MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu")
CONFIG = str(DEMO / "toy_4_retrain.yaml")
FOLDERS = ("file", "file/below", "loop", "loop/below", "full", "null/below", "/proc/none", "/sys/none", "long")


def tool(folder, name, *words):
    module = script(folder, name)
    module.main(module.parser().parse_args([*words]))


def find(output, images):
    data = f"coco:{images}/train.json:{images}/train"
    find_detector([data, "--hours", "0.1", "--plan", "--output", output])


def export(output, images):
    tool("tools", "export_model", "--config-file", CONFIG, "--random-weights", "--output", output, *NETWORK)


def predict(output, images):
    if not os.path.exists("network"):
        export("network", images)
    tool("demo", "predict", "--config-file", "network/model.yaml", "--input", f"{images}/test", "--output", output)


def picture(output, images):
    report(["--archs", "0000-0000", "--out", f"{output}/a.png"])


@pytest.mark.parametrize("command", [find, export, predict, picture], ids=lambda command: command.__name__)
def test_where_nothing_can_be_written_is_one_sentence(command, toy_root, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    for link, target in (("loop", "loop"), ("full", "/dev/full"), ("null", "/dev/null")):
        os.symlink(target, link)
    before = tree(tmp_path)
    for name in FOLDERS:
        folder = "x" * 300 if name == "long" else name
        said = refused(command, folder, toy_root / "detection")
        assert folder in said, (name, said)
    assert {name: content for name, content in tree(tmp_path).items() if not name.startswith("network")} == before


def train(output, images):
    settings = {**classification(images.parent), "OUTPUT_DIR": output, "SOLVER.MAX_ITER": 4, "SOLVER.STEPS": "[]",
                "SOLVER.CHECKPOINT_PERIOD": 2, "DATASETS.TEST": "()"}
    with own_loggers():
        launch(train_net.main, command_of("toy_1_pretrain_supernet", settings))


@pytest.mark.parametrize("command, name", [
    (train, "model_0000001.pth"), (train, "data.json"), (export, "model.pth"), (export, "model.yaml"),
    (predict, "detections.json"),
])
def test_a_full_disk_is_one_sentence(command, name, toy_root, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    os.symlink("/dev/full", f"out/{name}.partial")
    said = refused(command, "out", toy_root / "detection")
    assert f"out/{name}: No space left on device" in said
    assert not os.path.lexists(f"out/{name}") and not os.path.lexists(f"out/{name}.partial")


def test_a_full_disk_under_a_picture_and_an_exported_file_is_one_sentence(toy_root, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for name in ("a.png", "detector.in_doubt.ts"):
        os.symlink("/dev/full", f"out/{name}")
    assert "No space left on device" in refused(picture, "out", None)
    image = str(next((toy_root / "detection" / "test").iterdir()))
    words = ["--random-weights", "--format", "torchscript", "--image", image, "--output", "out", *NETWORK]
    assert "No space left on device" in refused(tool, "tools", "export_model", "--config-file", CONFIG, *words)


def test_a_full_disk_under_the_log_and_a_checkpoint_leaves_no_traceback(toy_root, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    os.symlink("/dev/full", "out/log.txt")
    os.symlink("/dev/full", "out/model_0000001.pth.partial")
    with pytest.raises(SystemExit):
        train("out", toy_root / "detection")
    shown = "".join(capfd.readouterr())
    assert "model_0000001.pth: No space left on device" in shown and "Traceback" not in shown
