import pytest
import torch
from detectron2.layers import Conv2d
from torch.nn.functional import conv2d

from detnas.training.speed import mixed_precision


def gradients(conv, x):
    y = conv(x)
    y.float().square().mean().backward()
    return y, [x.grad, *(parameter.grad for parameter in conv.parameters())]


@pytest.mark.parametrize("settings", [
    {"kernel_size": 3, "padding": 1, "groups": 8}, {"kernel_size": 5, "padding": 2, "stride": 2, "groups": 8},
    {"kernel_size": 3, "padding": (1, 0), "groups": 8, "bias": False}, {"kernel_size": 3, "groups": 4},
    {"kernel_size": 3, "padding": "same", "groups": 8}, {"kernel_size": 1}])
def test_mixed_precision_on_a_cpu_is_near_fp32(settings):
    torch.manual_seed(0)
    conv = Conv2d(8, 8, **settings)
    x = torch.randn(2, 8, 9, 7)
    wanted, wanted_gradients = gradients(conv, x.clone().requires_grad_())
    conv.zero_grad()
    with mixed_precision("cpu", True):
        found, found_gradients = gradients(conv, x.clone().requires_grad_())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=0.02, atol=0.02)
    for one, other in zip(found_gradients, wanted_gradients, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02 * other.abs().max().item())


def test_a_depthwise_conv_has_gradients_only_where_they_are_needed():
    weight, x = torch.randn(4, 1, 3, 3, requires_grad=True), torch.randn(1, 4, 5, 5)
    with mixed_precision("cpu", True):
        conv2d(x, weight, groups=4).sum().backward()
    # The gradient of a sum is the sum of the pixels under each weight.
    wanted = torch.nn.functional.unfold(x.bfloat16().float(), 3).sum(-1).view(4, 1, 3, 3)
    torch.testing.assert_close(weight.grad, wanted, rtol=1e-4, atol=1e-4)
    with mixed_precision("cpu", True):
        x.requires_grad_()
        assert torch.autograd.grad(conv2d(x, weight.detach(), groups=4).sum(), x)[0].shape == x.shape


def test_without_mixed_precision_nothing_changes():
    conv = Conv2d(4, 4, 3, groups=4)
    x = torch.randn(1, 4, 5, 5)
    with mixed_precision("cpu", False):
        assert torch.equal(conv(x), conv2d(x, conv.weight, conv.bias, groups=4))
