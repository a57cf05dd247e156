"""A detector with copies of stages as TorchScript and ONNX."""

import re

import pytest
import torch
import yaml
from detectron2.modeling import build_model
from export_runs import export
from toy_runs import SHORT

from detnas.config.load import load_config
from detnas.export import check, traced


@pytest.fixture
def detector(tmp_path, pytestconfig):
    """Config and checkpoint of a small Faster R-CNN whose copies do something, and whose scores differ."""
    model = {
        "SPNAS": {"CODE": "1-1-1-1_1-0-2-1", "BASE_WIDTH": 8, "STEM": "3x3", "SHORTCUT": "projection"},
        "FPN": {"OUT_CHANNELS": 16},
        "ROI_HEADS": {"NUM_CLASSES": 3},
        "ROI_BOX_HEAD": {"NUM_CONV": 0, "FC_DIM": 32, "NORM": ""},
    }
    base = str(pytestconfig.rootpath / "configs" / "SPNAS" / "Base-FPN.yaml")
    path = tmp_path / "detector.yaml"
    path.write_text(yaml.safe_dump({"_BASE_": base, "MODEL": model, "OUTPUT_DIR": str(tmp_path)}))
    cfg = load_config(str(path), ["MODEL.DEVICE", "cpu", "MODEL.SPNAS.NORM", "BN", "MODEL.FPN.NORM", "BN"])
    torch.manual_seed(0)
    model = build_model(cfg)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".fuse." in name and name.endswith("norm.weight"):
                parameter.uniform_(0.5, 1)
        model.roi_heads.box_predictor.cls_score.weight.mul_(100)
    torch.save({"model": model.state_dict()}, tmp_path / "model_final.pth")
    return path


def test_a_detector_with_copies_is_exported_whole_and_gives_its_boxes(detector, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(check, "NUM_IMAGES", 2)
    overrides = {**SHORT, "DATASETS.TRAIN": "()", "DATASETS.TEST": "()"}
    flags = ("--output", tmp_path / "out", "--format", "torchscript", "--format", "onnx")
    folder = export("--config-file", detector, *flags, overrides=overrides)
    out = capsys.readouterr().out
    # The tool compares the files with the network, and gives other names to files that differ.
    assert "detector.ts: the detector; images of any size" in out and "detector.onnx: the detector;" in out
    counts = [int(count) for count in re.findall(r"detections compared: (\d+)", out)]
    assert len(counts) == 2 and min(counts) > 20
    files = [traced.open_file(str(folder / name)) for name in ("detector.ts", "detector.onnx")]
    image = torch.rand(3, 61, 130) * 255
    (boxes, scores, _), (others, other_scores, _) = (run(image) for run in files)
    assert len(boxes) == len(others) > 0 and torch.allclose(scores, other_scores, atol=1e-4)
    assert yaml.safe_load((folder / "model.yaml").read_text())["MODEL"]["SPNAS"]["CODE"] == "1-1-1-1_1-0-2-1"
