import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer

import detnas
from detnas.modeling.backbone import DetNASNet

SPACE = detnas.get_space("tiny")
PATH = SPACE.parse("01-23-32-10")


def test_weights_of_another_split_are_refused_whoever_loads_them(tmp_path):
    net, other = (DetNASNet(SPACE, PATH, shuffle=shuffle) for shuffle in ("even_odd", "interleave"))
    message = 'for the channel split "even_odd" and the model has "interleave": set MODEL.DETNAS.SHUFFLE "even_odd"'
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(net.state_dict())
    torch.save({"model": net.state_dict()}, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=message):
        DetectionCheckpointer(other).load(str(tmp_path / "net.pth"))
    with pytest.raises(ValueError, match=message):
        detnas.load_weights(other, str(tmp_path / "net.pth"))
    # Those that do not say theirs are loaded.
    other.load_state_dict({key: value for key, value in net.state_dict().items() if key != "split"})


def test_weights_pass_between_frozen_and_other_batch_norm(tmp_path):
    net, frozen = DetNASNet(SPACE, PATH), DetNASNet(SPACE, PATH, norm="FrozenBN")
    torch.save(net.state_dict(), tmp_path / "net.pth")
    detnas.load_weights(frozen, str(tmp_path / "net.pth"))
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(frozen.eval()(image)["stage4"], net.eval()(image)["stage4"])
