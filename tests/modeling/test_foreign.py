import io
import logging
import pickle

import numpy as np
import pytest
import torch
import torchvision
from detectron2.config import get_cfg
from detectron2.modeling import build_backbone
from torch import nn

from detnas.errors import UserError
from detnas.modeling.foreign import from_torchvision, read_zoo
from detnas.modeling.weights import load_weights, read_checkpoint


def resnet_config():
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME, cfg.MODEL.RESNETS.STRIDE_IN_1X1 = "build_resnet_fpn_backbone", False
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    return cfg


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = build_backbone(resnet_config()).eval()


@pytest.fixture(scope="module")
def resnet50():
    torch.manual_seed(0)
    network = torchvision.models.resnet50().eval()
    for name, value in network.state_dict().items():
        if "running" in name:
            value.copy_(torch.rand_like(value) + 0.5)
    return network


def test_a_detector_starts_from_torchvisions_file_and_has_its_features(resnet50, tmp_path, caplog):
    torch.save(resnet50.state_dict(), tmp_path / "resnet50.pth")
    detector, image = Detector(), torch.rand(1, 3, 64, 96)
    with caplog.at_level(logging.INFO, logger="detnas"):
        load_weights(detector, str(tmp_path / "resnet50.pth"), new_heads=True)
    found = detector.backbone.bottom_up(image)
    x = resnet50.maxpool(resnet50.relu(resnet50.bn1(resnet50.conv1(image))))
    for number in (1, 2, 3, 4):
        x = getattr(resnet50, f"layer{number}")(x)
        torch.testing.assert_close(found[f"res{number + 1}"], x, rtol=1e-4, atol=1e-4)
    assert "start from random values: backbone.fpn" in caplog.text and "NOT USED" not in caplog.text


def test_a_file_of_the_model_zoo_is_read_without_running_code(resnet50, tmp_path):
    state = {name: value.numpy() for name, value in from_torchvision(resnet50.state_dict()).items()}
    # As torchvision's network lies in the zoo.
    content = {"model": {**state, "stem.fc.weight": np.ones(2)}, "__author__": "torchvision"}
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps(content))
    detector = Detector()
    load_weights(detector, str(tmp_path / "R-50.pkl"), new_heads=True)
    name = "res4.5.conv2.weight"
    assert torch.equal(detector.backbone.bottom_up.state_dict()[name], torch.from_numpy(state[name]))
    (tmp_path / "code.pkl").write_bytes(pickle.dumps({"model": nn.Linear(1, 1), "__author__": "?"}))
    with pytest.raises(UserError, match="code.pkl cannot be read as a checkpoint: .* could run code"):
        read_checkpoint(str(tmp_path / "code.pkl"))


def test_names_and_folded_norms_of_caffe2_become_detectron2s():
    blobs = {"conv1_w": np.ones((64, 3, 7, 7), "f"), "res_conv1_bn_s": np.ones(64, "f"), "conv1_momentum": np.ones(1)}
    found = read_zoo(io.BytesIO(pickle.dumps({"blobs": blobs})))
    assert found["stem.conv1.weight"].shape == (64, 3, 7, 7) and "conv1_momentum" not in found
    # As Detectron2 loads them: a norm that does nothing but its scale and shift.
    variance = found["stem.conv1.norm.running_var"] + 1e-5
    assert torch.equal(variance, torch.ones(64)) and not found["stem.conv1.norm.running_mean"].any()


def test_weights_that_cannot_be_fetched_are_one_sentence():
    with pytest.raises(UserError, match=r"weights detectron2://none.pkl cannot be fetched .*: give a file on this"):
        read_checkpoint("detectron2://none.pkl")
