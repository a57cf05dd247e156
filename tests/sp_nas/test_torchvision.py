import pytest
import torch
import torchvision
from scripts import script

import spnas
from detnas.modeling.foreign import from_torchvision

tool = script("tools", "convert_torchvision")
R50 = "111-2111-211111-211"


@pytest.mark.parametrize(
    "name, code, block",
    [("resnet18", "11-21-21-21", "basic"), ("resnet50", R50, "bottleneck"), ("resnext50_32x4d", R50, "32x4d")],
)
def test_a_network_of_torchvision_computes_the_same_under_our_names(name, code, block):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)().eval()
    ours = spnas.SPNet(code, block=block).eval()
    ours.load_state_dict(from_torchvision(theirs.state_dict()))
    x = torch.randn(1, 3, 64, 64)
    maps = list(ours(x).values())
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
    for stage, found in enumerate(maps, 1):
        x = getattr(theirs, f"layer{stage}")(x)
        assert torch.equal(x, found)


def test_another_network_is_refused():
    with pytest.raises(ValueError, match="features.0.weight is no weight of a torchvision ResNet"):
        from_torchvision({"features.0.weight": torch.ones(1)})


def test_the_tool_writes_what_a_detector_starts_from(tmp_path, capsys, refused):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "r18.pth")
    words = ["--weights", str(tmp_path / "r18.pth"), "--output", str(tmp_path / "out.pth")]
    tool.main(tool.parser().parse_args([*words, "--code", "11-21-21-21", "--block", "basic"]))
    assert "INPUT.FORMAT RGB" in capsys.readouterr().out
    state = torch.load(tmp_path / "out.pth", weights_only=True)["model"]
    assert all(name.startswith("backbone.bottom_up.") for name in state) and len(state) == 120
    assert "do not match the model" in refused(tool.main, tool.parser().parse_args(words))
    same = [*words[:3], str(tmp_path / "r18.pth")]
    assert "r18.pth is the file that is read" in refused(tool.main, tool.parser().parse_args(same))
