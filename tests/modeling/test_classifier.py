import pytest
import torch
import torch.nn.functional as F
from supernet_runs import find_supernet
from toy_runs import build_classifier

from detnas import DetNASNet, DetNASSupernet
from detnas.modeling.choices import activate
from detnas.modeling.weights import BODY

ARCH = "30-12-21-03"


def build(arch=ARCH, num_classes=5, **overrides):
    torch.manual_seed(0)
    overrides = {f"MODEL.{key.replace('__', '.')}": value for key, value in overrides.items()}
    plain = {"MODEL.PIXEL_MEAN": [0.0] * 3, "MODEL.PIXEL_STD": [1.0] * 3, "MODEL.CLASSIFIER.NUM_CLASSES": num_classes}
    return build_classifier("tiny", arch, {**plain, **overrides})


def images(count=3, size=64):
    generator = torch.Generator().manual_seed(1)
    return [{"image": torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8), "label": i}
            for i in range(count)]


def test_training_gives_a_dict_with_one_loss_that_has_gradients():
    model = build().train()
    losses = model(images())
    assert list(losses) == ["loss_cls"]
    assert losses["loss_cls"].shape == () and torch.isfinite(losses["loss_cls"])
    losses["loss_cls"].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_evaluation_gives_the_probabilities_of_each_image():
    model, batch = build().eval(), images()
    for image in batch:
        del image["label"]
    with torch.no_grad():
        results = model(batch)
    assert [list(result) for result in results] == [["scores"]] * 3
    for result in results:
        assert result["scores"].shape == (5,) and (result["scores"] >= 0).all()
        assert result["scores"].sum().item() == pytest.approx(1, abs=1e-5)


def test_the_scores_of_an_image_do_not_depend_on_the_others_of_its_batch():
    model, batch = build().eval(), images()
    with torch.no_grad():
        together, alone = model(batch)[1]["scores"], model(batch[1:2])[0]["scores"]
    torch.testing.assert_close(together, alone)


def test_the_loss_is_the_cross_entropy_with_label_smoothing():
    model, batch = build(CLASSIFIER__DROPOUT=0.0, CLASSIFIER__LABEL_SMOOTHING=0.3).train(), images()
    loss = model(batch)["loss_cls"]
    features = model.backbone(torch.stack([x["image"] for x in batch]).float().to(model.device))["last"]
    log_probs = F.log_softmax(model.linear(features.mean(dim=(2, 3))), dim=1)
    target = torch.full((3, 5), 0.3 / 5, device=model.device)
    target[range(3), range(3)] += 0.7
    torch.testing.assert_close(loss, -(target * log_probs).sum(dim=1).mean())


def test_dropout_acts_in_training_only():
    model, batch = build(CLASSIFIER__DROPOUT=0.5).eval(), images()
    with torch.no_grad():
        assert torch.equal(model(batch)[0]["scores"], model(batch)[0]["scores"])
        model.train()
        assert model(batch)["loss_cls"] != model(batch)["loss_cls"]


def test_pixels_are_normalized_by_the_mean_and_deviation_of_the_config():
    model, (image,), seen = build(PIXEL_MEAN=[1.0, 2.0, 3.0], PIXEL_STD=[2.0, 4.0, 8.0]).eval(), images(1), []
    model.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model([image])
    for channel, (mean, std) in enumerate([(1, 2), (2, 4), (3, 8)]):
        assert torch.equal(seen[0][0, channel].cpu(), (image["image"][channel].float() - mean) / std)


def test_the_body_is_backbone_bottom_up_as_in_a_detector():
    model = build()
    assert type(model.backbone.bottom_up) is DetNASNet
    body = {key.removeprefix(BODY) for key in model.state_dict() if key.startswith(BODY)}
    assert body == set(model.backbone.bottom_up.state_dict())


def test_the_rest_of_a_state_dict_is_the_last_conv_and_the_linear_layer():
    rest = {key for key in build().state_dict() if not key.startswith(BODY)}
    conv_and_norm = {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
                     "1.num_batches_tracked"}
    assert rest == {f"backbone.last.{name}" for name in conv_and_norm} | {"linear.weight", "linear.bias"}


def test_a_supernet_can_be_a_classifiers_body():
    model = build("supernet").eval()
    assert find_supernet(model) is model.backbone.bottom_up
    assert type(model.backbone.bottom_up) is DetNASSupernet
    with torch.no_grad():
        before = model(images(1))[0]["scores"]
        activate(model, find_supernet(model).space, (3, 0, 1, 2, 2, 1, 0, 3))
        assert not torch.equal(before, model(images(1))[0]["scores"])


def test_the_last_conv_widens_to_the_spaces_last_width_before_pooling():
    model = build(num_classes=7).eval()
    assert model.backbone.output_shape()["last"].channels == model.backbone.bottom_up.space.last_channels == 256
    assert model.backbone(torch.rand(2, 3, 64, 96, device=model.device))["last"].shape == (2, 256, 2, 3)
    assert model.linear.weight.shape == (7, 256)
