import pytest
import torch
import torch.nn.functional as F
from toy_runs import build_classifier

from detnas import DetNASNet, DetNASSupernet
from detnas.modeling.weights import BODY

ARCH = "30-12-21-03"


def build(arch=ARCH, num_classes=5, **overrides):
    torch.manual_seed(0)
    overrides = {f"MODEL.{key.replace('__', '.')}": value for key, value in overrides.items()}
    plain = {"MODEL.PIXEL_MEAN": [0.0] * 3, "MODEL.PIXEL_STD": [1.0] * 3, "MODEL.CLASSIFIER.NUM_CLASSES": num_classes}
    return build_classifier("tiny", arch, {**plain, **overrides})


def images():
    generator = torch.Generator().manual_seed(1)
    return [{"image": torch.randint(0, 256, (3, 64, 64), generator=generator, dtype=torch.uint8), "label": i}
            for i in range(3)]


def test_training_gives_a_dict_with_one_loss_that_has_gradients():
    model = build().train()
    losses = model(images())
    assert list(losses) == ["loss_cls"]
    losses["loss_cls"].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_evaluation_gives_the_probabilities_of_each_image_whatever_the_others_of_its_batch():
    model, batch = build().eval(), images()
    for image in batch:
        del image["label"]
    with torch.no_grad():
        results = model(batch)
        torch.testing.assert_close(results[1]["scores"], model(batch[1:2])[0]["scores"])
    assert [list(result) for result in results] == [["scores"]] * 3
    for result in results:
        assert result["scores"].shape == (5,) and (result["scores"] >= 0).all()
        assert result["scores"].sum().item() == pytest.approx(1, abs=1e-5)


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
    model, (image,), seen = build(PIXEL_MEAN=[1.0, 2.0, 3.0], PIXEL_STD=[2.0, 4.0, 8.0]).eval(), images()[:1], []
    model.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model([image])
    for channel, (mean, std) in enumerate([(1, 2), (2, 4), (3, 8)]):
        assert torch.equal(seen[0][0, channel].cpu(), (image["image"][channel].float() - mean) / std)


def test_the_body_is_where_a_detector_has_it_and_the_rest_the_last_conv_and_the_linear_layer():
    model = build()
    assert type(model.backbone.bottom_up) is DetNASNet
    body = {BODY + key for key in model.backbone.bottom_up.state_dict()}
    conv_and_norm = {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
                     "1.num_batches_tracked"}
    rest = {f"backbone.last.{name}" for name in conv_and_norm} | {"linear.weight", "linear.bias"}
    assert model.state_dict().keys() == body | rest


def test_a_supernet_can_be_a_classifiers_body():
    body = build("supernet").backbone.bottom_up
    assert type(body) is DetNASSupernet


def test_the_last_conv_widens_to_the_spaces_last_width_before_pooling():
    model = build(num_classes=7).eval()
    assert model.backbone.output_shape()["last"].channels == model.backbone.bottom_up.space.last_channels == 256
    assert model.linear.weight.shape == (7, 256)
