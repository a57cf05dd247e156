"""tools/export_model.py on small networks and the generated images."""

import functools
import re
import shutil

import pytest
import torch
import yaml
from detectron2.modeling import build_model
from export_runs import export, words
from scripts import ROOT
from toy_runs import DEMO, RETINANET, SHORT, SMALL_RETINANET, classification, command, detection, own_loggers

import detnas
import train_net
from detnas.config.load import load_config
from detnas.export import check as traced_check
from detnas.export import traced
from detnas.export.network import load_network_config, portable_config
from detnas.search.log import SearchLog

pytest_plugins = ["export_fixtures"]
ARCH = "21-30-12-03"
TINY = detnas.get_space("tiny")
BOTH = ("--format", "torchscript", "--format", "onnx")
DETECTOR = {"MODEL.DETNAS.ARCH": ARCH, "MODEL.WEIGHTS": ""}


def export_config(config, folder, *flags, overrides=()):
    """Export from one of the demo's configs or a path, in short."""
    path = config if "/" in str(config) else DEMO / f"{config}.yaml"
    return export("--config-file", path, "--output", folder, *flags, overrides={**SHORT, **dict(overrides)})


@pytest.fixture
def fails(refused):
    """Function that runs the tool, which ends with the sentence that it gives."""
    return functools.partial(refused, export)


def test_the_best_of_a_search_has_its_logged_metrics(exported, searched_supernet, toy_root, tmp_path):
    best = SearchLog(str(searched_supernet), TINY).best()[0]
    assert best.score > 1
    overrides = {**detection(toy_root, "train"), "MODEL.WEIGHTS": exported / "model.pth", "OUTPUT_DIR": tmp_path}
    with own_loggers():
        results = train_net.main(command(exported / "model.yaml", overrides, "--eval-only"))
    metrics = {f"bbox/{name}": value for name, value in results["bbox"].items()}
    assert metrics["bbox/AP50"] == pytest.approx(best.score, abs=1e-3)
    assert metrics["bbox/AP"] == pytest.approx(best.metrics["bbox/AP"], abs=1e-3)


def test_the_winner_of_a_search_is_exported_from_its_two_files_alone(searched_supernet, exported, tmp_path, capsys):
    for name in ("best.yaml", "best.pth"):
        shutil.copy(searched_supernet / name, tmp_path)
    folder = export("--config-file", tmp_path / "best.yaml", "--format", "torchscript")
    assert folder == tmp_path / "export" and "run on 0000" in capsys.readouterr().out
    assert (folder / "detector.ts").is_file()
    assert (folder / "model.yaml").read_text() == (exported / "model.yaml").read_text()
    ours, theirs = (torch.load(file, weights_only=True)["model"]
                    for file in (folder / "model.pth", searched_supernet / "best.pth"))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_config_names_the_classes_and_nothing_of_this_machine(exported, searched_supernet):
    text = (exported / "model.yaml").read_text()
    assert "generated" not in text and "coco:" not in text and not re.search(r"(^|\s|['\"])/", text)
    cfg = yaml.safe_load(text)
    best = SearchLog(str(searched_supernet), TINY).best()[0]
    assert cfg["MODEL"]["DETNAS"]["CLASSES"] == ["disk", "square", "triangle", "cross"]
    assert cfg["MODEL"]["DETNAS"]["ARCH"] == TINY.format(best.network)
    assert cfg["MODEL"]["WEIGHTS"] == "model.pth" and cfg["MODEL"]["DEVICE"] == "cpu"
    assert {cfg["MODEL"][part]["NORM"] for part in ("DETNAS", "FPN", "ROI_BOX_HEAD")} == {"BN"}


def test_the_files_are_of_the_detector_for_images_of_any_size(exported):
    assert {f.name for f in exported.iterdir()} == {
        "model.yaml", "model.pth", "detector.ts", "detector.onnx", "detector.json", "detect.py"}
    run = [traced.open_file(str(exported / name)) for name in ("detector.ts", "detector.onnx")]
    for size in ((32, 200), (130, 61)):
        (boxes, scores, classes), others = run[0](torch.rand(3, *size) * 255), run[1](torch.zeros(3, *size))
        assert len(boxes) == len(scores) == len(classes) > 0
        # Nothing is found in a black image, or little.
        assert [x.dim() for x in others] == [2, 1, 1] and (boxes[:, [0, 2]] <= size[1]).all()


def test_retinanet_is_exported_whole(tmp_path, capsys):
    overrides = {**SMALL_RETINANET, "MODEL.DETNAS.ARCH": ARCH, "DATASETS.TRAIN": "()", "DATASETS.TEST": "()"}
    overrides.update({"MODEL.FPN.NORM": "SyncBN", "MODEL.RETINANET.NORM": "SyncBN", "OUTPUT_DIR": tmp_path})
    sizes = [[8 * 2**level, 12 * 2**level] for level in range(5)]
    overrides.update({"MODEL.RETINANET.NUM_CLASSES": 4, "MODEL.ANCHOR_GENERATOR.SIZES": sizes})
    torch.manual_seed(0)
    state = build_model(load_config(RETINANET, words({**overrides, "MODEL.DEVICE": "cpu"}))).state_dict()
    # The scores of an untrained one are all the same.
    state["head.cls_score.weight"] *= 100
    state["head.cls_score.bias"].zero_()
    torch.save({"model": state}, tmp_path / "model_final.pth")
    folder = export_config(RETINANET, tmp_path / "out", *BOTH, overrides=overrides)
    out = capsys.readouterr().out
    assert "detector.ts: the detector; images of any size" in out and "detector.onnx: the detector;" in out
    assert "run on noise, mirrored and at another size (" in out
    assert len(re.findall(r"detections compared: 2\d\d, boxes in pixels; that only one side has: \d+", out)) == 2
    assert yaml.safe_load((folder / "model.yaml").read_text())["MODEL"]["RETINANET"]["NORM"] == "BN"


def test_a_classifier_is_exported_whole(toy_root, tmp_path, capsys):
    overrides = {**classification(toy_root), "MODEL.DETNAS.ARCH": ARCH}
    folder = export_config("toy_1_pretrain_supernet", tmp_path, "--random-weights", *BOTH, overrides=overrides)
    out = capsys.readouterr().out
    assert "classifier.ts: the classifier" in out and "cut to 32x32" in out
    (scores,) = traced.open_file(str(folder / "classifier.onnx"))(torch.rand(3, 32, 32) * 255)
    assert scores.shape == (4,) and float(scores.sum()) == pytest.approx(1)


def test_a_published_name_without_weights_says_that_they_are_random_whenever_it_is_exported(tmp_path, capsys):
    overrides = {"MODEL.DETNAS.SPACE": "300M", "MODEL.DETNAS.ARCH": "DetNAS-COCO-FPN-300M", "DATASETS.TEST": "()"}
    overrides.update({"OUTPUT_DIR": tmp_path, "SEARCH.RAY_ADDRESS": "gpus.example"})
    folder = export_config("toy_4_retrain", tmp_path, "--random-weights", overrides=overrides)
    assert "RANDOM WEIGHTS" in capsys.readouterr().out
    assert not {"gpus.example", str(tmp_path)} & set(re.findall(r"[\w./]+", (folder / "model.yaml").read_text()))
    assert export("--config-file", folder / "model.yaml") == folder
    assert (folder / "model.yaml").read_text().startswith("# RANDOM WEIGHTS: an untrained network.\n")


@pytest.mark.parametrize("flags, overrides, reason", [
    (["--backbone"], {}, "--backbone"),
    ([], {"MODEL.MASK_ON": True}, "MODEL.MASK_ON: the network gives more than boxes"),
    ([], {}, "torch cannot write the whole detector: Could not follow this head"),
])
def test_the_backbone_alone_says_why(toy_root, tmp_path, capsys, monkeypatch, flags, overrides, reason):
    def cannot(model, inputs):
        raise RuntimeError("\nCould not follow this head\nand so on")

    if reason.startswith("torch"):
        monkeypatch.setattr(traced.DETECTOR, "run", cannot)
    overrides = {**detection(toy_root), **DETECTOR, **overrides}
    export_config("toy_4_retrain", tmp_path, "--random-weights", "--format", "torchscript", *flags, overrides=overrides)
    out = capsys.readouterr().out
    assert f"backbone.ts: the backbone, and not the whole network ({reason})" in out and "p2, p3, p4, p5, p6" in out
    outputs = traced.open_file(str(tmp_path / "backbone.ts"))(torch.rand(3, 60, 90) * 255)
    assert [tuple(x.shape[2:]) for x in outputs] == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    assert not (tmp_path / "detector.ts").exists()


def test_an_exported_config_names_no_folder_of_this_machine_but_data_of_detectron2(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells").mkdir()
    names = ["cells", str(tmp_path), "coco:a.json:b", "coco_2017_val"]
    portable = portable_config(load_config(None, ["DATASETS.TEST", str(names)]))
    assert list(portable.DATASETS.TEST) == ["coco_2017_val"]


def test_without_its_data_a_trained_network_is_exported_without_class_names(exported, tmp_path, caplog):
    cfg = yaml.safe_load((exported / "model.yaml").read_text())
    cfg["MODEL"]["DETNAS"]["CLASSES"] = []
    cfg["DATASETS"]["TRAIN"] = ["coco:gone.json:gone"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(cfg))
    shutil.copy(exported / "model.pth", tmp_path)
    folder = export("--config-file", tmp_path / "run.yaml", "--output", tmp_path / "out")
    assert folder == tmp_path / "out" and "No class names" in caplog.text and "gone.json does not exist" in caplog.text
    assert yaml.safe_load((folder / "model.yaml").read_text())["MODEL"]["DETNAS"]["CLASSES"] == []


def test_without_its_data_the_classes_of_coco_and_voc_are_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, count, first in (("COCO/detnas_fpn_300M_1x", 80, "person"), ("VOC/detnas_fpn_300M", 20, "aeroplane")):
        model = load_network_config(str(ROOT / "configs" / f"{name}.yaml")).MODEL
        assert (len(model.DETNAS.CLASSES), model.DETNAS.CLASSES[0]) == (count, first)
        assert model.ROI_HEADS.NUM_CLASSES == count


def test_a_space_of_one_stage_is_exported_although_its_arch_is_a_number(tmp_path):
    own = {"STAGE_CHANNELS": [32], "STAGE_DEPTHS": [4]}
    model = {
        "META_ARCHITECTURE": "ImageClassifier",
        "BACKBONE": {"NAME": "build_detnas_classifier_backbone"},
        "DETNAS": {"SPACE": "custom", "CUSTOM_SPACE": own},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"MODEL": model, "DATASETS": {"TRAIN": [], "TEST": []}}))
    overrides = {"MODEL.DETNAS.ARCH": "2130"}
    export("--config-file", tmp_path / "own.yaml", "--output", tmp_path, "--random-weights", overrides=overrides)
    assert load_network_config(str(tmp_path / "model.yaml")).MODEL.DETNAS.ARCH == "2130"


def test_an_exported_config_of_the_working_folder_is_exported_into_it(exported, tmp_path, monkeypatch):
    for name in ("model.yaml", "model.pth"):
        shutil.copy(exported / name, tmp_path)
    before = (tmp_path / "model.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    assert export("--config-file", "model.yaml").resolve() == tmp_path.resolve()
    assert (tmp_path / "model.yaml").read_text() == before


def test_bad_input_is_one_sentence(fails, tmp_path, exported):
    config, model = ("--config-file", DEMO / "toy_4_retrain.yaml"), ("--config-file", exported / "model.yaml")
    assert 'MODEL.DETNAS.ARCH is "supernet"' in fails("--config-file", DEMO / "toy_2_train_supernet.yaml")
    arch = {"MODEL.DETNAS.ARCH": ARCH, "OUTPUT_DIR": tmp_path}
    assert "--random-weights exports an untrained network" in fails(*config, overrides=arch)
    assert "gone.png does not exist" in fails(*model, "--format", "onnx", "--image", "gone.png")
    assert "cannot be read as an image" in fails(*model, "--format", "onnx", "--image", exported / "model.yaml")
    wrong = {"MODEL.WEIGHTS": exported / "model.pth"}
    assert f"weights {exported}/model.pth do not match" in fails(*model, overrides={**wrong, "MODEL.FPN.NORM": ""})


def test_a_file_that_differs_keeps_a_name_that_says_so(fails, exported, toy_root, tmp_path, monkeypatch):
    for name in ("model.yaml", "model.pth", "detector.ts"):
        shutil.copy(exported / name, tmp_path)
    config = ("--config-file", tmp_path / "model.yaml")
    images = [word for n in (1, 2) for word in ("--image", toy_root / "detection" / "val" / f"0000{n}.jpg")]
    open_file = traced.open_file

    def without_some(path):
        run = open_file(path)
        return lambda image: [values[::2] for values in run(image)]

    monkeypatch.setattr(traced_check, "open_file", without_some)
    sentence = fails(*config, "--format", "torchscript", *images)
    assert sentence.startswith(f"{tmp_path}/detector.in_doubt.ts keeps this name, as it differs from the network on 4 ")
    assert "on 00001.jpg (" in sentence and re.search(r"\d+ of \d+ detections are not the same", sentence)
    # Nor is one of an earlier export left, which would be taken for it.
    assert {f.name for f in tmp_path.iterdir()} == {"model.yaml", "model.pth", "detector.in_doubt.ts"}
    monkeypatch.undo()
    export(*config, "--format", "torchscript")
    assert {f.name for f in tmp_path.iterdir()} == {"model.yaml", "model.pth", "detector.ts"}


@pytest.mark.parametrize("name", ["model.yaml", "model.pth"])
def test_a_file_of_something_else_is_not_written_over(name, fails, exported, tmp_path):
    (tmp_path / name).write_text("mine: 1\n")
    sentence = fails("--config-file", exported / "model.yaml", "--output", tmp_path)
    assert sentence == f"{tmp_path}/{name} is of something else, and would be written over: give another folder"
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "mine: 1\n")]


def test_missing_onnx_packages_are_named_before_anything_is_written(fails, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(traced, "can_import", lambda name: False)
    sentence = fails("--config-file", exported / "model.yaml", "--format", "onnx", "--output", tmp_path / "out")
    packages = ("onnx", "onnxscript", "onnxruntime")
    assert sentence == f"--format onnx needs {' and '.join(packages)}: pip install {' '.join(packages)}"
    assert not (tmp_path / "out").exists()
