"""demo/predict.py on the generated images."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from detectron2.config import get_cfg
from detectron2.data.catalog import Metadata
from detectron2.data.detection_utils import read_image
from detectron2.engine import DefaultPredictor
from detectron2.structures import Boxes, Instances
from export_runs import demo, predict
from PIL import Image
from scripts import ROOT
from toy_runs import DEMO

import detnas

pytest_plugins = ["export_fixtures"]


@pytest.fixture
def photos(toy_root, tmp_path):
    """A folder with two images and a text."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in (1, 2):
        shutil.copy(toy_root / "detection" / "val" / f"0000{number}.jpg", folder)
    Image.open(folder / "00002.jpg").save(folder / "b.png")
    (folder / "00002.jpg").unlink()
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def fails(refused, photos, tmp_path):
    """Function that runs the demo, which ends with the sentence that it gives."""

    def check(config, *flags, source=photos, output=tmp_path / "drawn"):
        return refused(predict, "--config-file", config, "--input", source, "--output", output, *flags)

    return check


def test_an_exported_network_draws_its_detections(exported, photos, tmp_path, capsys):
    model, output = exported / "model.yaml", tmp_path / "drawn"
    detections = predict("--config-file", model, "--input", photos, "--output", output, "--threshold", 0.05)
    assert {f.name for f in output.iterdir()} == {"00001.jpg", "b.png", "detections.json"}
    assert json.loads((output / "detections.json").read_text()) == detections
    assert f"2 images, {len(detections)} objects with a score of 0.05 and more" in capsys.readouterr().out
    drawn, image = (np.asarray(Image.open(folder / "b.png"), dtype=int) for folder in (output, photos))
    # A small image is drawn larger.
    assert max(drawn.shape[:2]) == 800 and drawn.shape[0] / drawn.shape[1] == image.shape[0] / image.shape[1]


def test_a_winner_draws_with_its_two_files_alone(searched_supernet, exported, photos, tmp_path, monkeypatch):
    for name in ("best.yaml", "best.pth"):
        shutil.copy(searched_supernet / name, tmp_path)
    config = tmp_path / "best.yaml"
    config.write_text(re.sub("coco:.*", "coco:gone.json:gone", config.read_text()))
    # With a relative name, as in `cd output/my/supernet`.
    monkeypatch.chdir(tmp_path)
    found = predict("--config-file", "best.yaml", "--input", photos, "--output", "drawn", "--threshold", 0.05)
    flags = ("--input", photos, "--output", "again", "--threshold", 0.05)
    assert found == predict("--config-file", exported / "model.yaml", *flags) and found


def test_a_search_that_has_not_ended_has_no_weights_to_draw_with(fails, searched_supernet, tmp_path):
    shutil.copy(searched_supernet / "best.yaml", tmp_path)
    sentence = fails(tmp_path / "best.yaml")
    assert sentence.startswith(f"{tmp_path}/best.pth does not exist; search_net.py writes it when the search has ended")


def test_the_detections_are_those_of_detectron2s_predictor(exported, photos, tmp_path):
    model, image = exported / "model.yaml", photos / "b.png"
    detections = predict("--config-file", model, "--input", image, "--output", tmp_path, "--threshold", 0.05)
    cfg = get_cfg()
    detnas.add_detnas_config(cfg)
    cfg.merge_from_file(str(model))
    cfg.MODEL.WEIGHTS = str(exported / "model.pth")
    found = DefaultPredictor(cfg)(read_image(str(image), "BGR"))["instances"]
    assert len(found) == len(detections) > 0 and {d["image_id"] for d in detections} == {"b.png"}
    assert [d["score"] for d in detections] == pytest.approx(found.scores.tolist())
    assert [d["category_id"] for d in detections] == found.pred_classes.tolist()
    x0, y0, x1, y1 = found.pred_boxes.tensor[0].tolist()
    assert detections[0]["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0])


def test_a_training_is_drawn_with_its_final_weights(exported, photos, toy_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "toy").symlink_to(toy_root)
    shutil.copy(exported / "model.pth", tmp_path / "model_final.pth")
    arch = yaml.safe_load((exported / "model.yaml").read_text())["MODEL"]["DETNAS"]["ARCH"]
    config = ("--config-file", DEMO / "toy_4_retrain.yaml", "--input", photos, "--output", tmp_path / "out")
    assert predict(*config, "MODEL.DETNAS.ARCH", arch, "OUTPUT_DIR", tmp_path) is not None
    assert (tmp_path / "out" / "00001.jpg").is_file()


def test_boxes_and_labels_cover_a_small_share_of_an_image_of_any_size():
    shares = []
    for width, height in ((120, 90), (640, 480), (2400, 1800)):
        instances = Instances((height, width))
        instances.pred_boxes = Boxes(torch.tensor([[0.2 * width, 0.2 * height, 0.7 * width, 0.8 * height]]))
        instances.scores, instances.pred_classes = torch.tensor([0.9]), torch.tensor([0])
        gray = np.full((height, width, 3), 128, dtype=np.uint8)
        drawn = demo.draw(gray, instances, Metadata().set(thing_classes=["cell"])).astype(int)
        assert drawn.shape[1] == max(width, 800)
        shares.append((abs(drawn - 128).max(axis=2) > 20).mean())
    # The line of a box is at least as wide as a pixel of the image.
    assert 0.01 < min(shares) and max(shares) < 0.04 and shares[2] == pytest.approx(shares[1], rel=0.1)
    # The copy of a large image has its size.
    assert drawn.shape == (1800, 2400, 3)


def test_files_that_are_no_images_are_named_and_skipped(exported, photos, tmp_path, capsys):
    words = ("--config-file", exported / "model.yaml", "--input", photos, "--output", tmp_path / "drawn")
    predict(*words)
    assert f"{photos}: skipped notes.txt: no image by the name (.jpg" in capsys.readouterr().out
    for number in range(4):
        (photos / f"{number}.xml").write_text("")
    (photos / "broken.jpg").write_bytes((photos / "00001.jpg").read_bytes()[:200])
    (photos / "text.png").write_text("no image")
    predict(*words)
    out = capsys.readouterr().out
    assert f"{photos}: skipped 0.xml, 1.xml, 2.xml and 2 more: no image" in out and "2 images" in out
    assert "broken.jpg cannot be read as an image and is skipped" in out and "text.png cannot be read" in out
    assert not (tmp_path / "drawn" / "text.png").exists()


def test_bad_input_is_one_sentence(fails, exported, photos, tmp_path):
    model = exported / "model.yaml"
    (tmp_path / "empty").mkdir()
    assert "empty holds no image (.jpg" in fails(model, source=tmp_path / "empty")
    assert "gone does not exist" in fails(model, source=tmp_path / "gone")
    assert "would be overwritten" in fails(model, output=photos)
    assert "would be overwritten" in fails(model, source=photos / "b.png", output=photos)
    (tmp_path / "link").symlink_to(photos)
    assert "would be overwritten" in fails(model, output=tmp_path / "link")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "b.png").write_text("")
    assert "mine/b.png is of something else, and would be overwritten" in fails(model, output=tmp_path / "mine")
    assert "two images of --input are called b.png" in fails(model, "--input", photos / "b.png")
    assert "--threshold 50.0: scores are between 0 and 1" in fails(model, "--threshold", 50)
    for device in ("cuda:99", "cuda:x", "ipu"):
        assert f"MODEL.DEVICE {device}" in fails(model, "MODEL.DEVICE", device).replace(' is "', " ")
    assert not (tmp_path / "drawn").exists()


def test_weights_that_are_not_there_or_do_not_match_are_named(fails, exported, tmp_path):
    shutil.copy(exported / "model.yaml", tmp_path)
    assert f"{tmp_path}/model.pth does not exist" in fails(tmp_path / "model.yaml")
    training = ("MODEL.DETNAS.ARCH", "21-30-12-03", "OUTPUT_DIR", tmp_path)
    assert f"no trained network at {tmp_path}/model_final.pth" in fails(DEMO / "toy_4_retrain.yaml", *training)
    words = fails(exported / "model.yaml", "MODEL.DETNAS.ARCH", "00-00-00-00", "MODEL.WEIGHTS", exported / "model.pth")
    assert "do not match the model" in words


def test_a_classifier_draws_no_boxes(fails):
    config = ROOT / "configs" / "ImageNet" / "detnas_300M.yaml"
    assert "is a classifier's; boxes come from a detector" in fails(config)
