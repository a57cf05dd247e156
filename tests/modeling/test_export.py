import onnxruntime
import pytest
import torch

import detnas

SPACE = detnas.SearchSpace("small", 16, (64, 160), (2, 2))
CASES = [("01-23", "even_odd"), ("32-10", "interleave")]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case[1])
def network(request):
    """A network in eval mode, with statistics that keep its values near one, an image and its features."""
    torch.manual_seed(0)
    arch, shuffle = request.param
    net = detnas.DetNASNet(SPACE, arch, shuffle=shuffle)
    image = torch.randn(1, 3, 64, 96)
    for norm in net.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None
    with torch.no_grad():
        net.train()(torch.randn(4, 3, 160, 160))
        return net.eval(), image, net(image)


def assert_close(outputs, features, tolerance=1e-4):
    assert len(outputs) == len(features)
    for output, feature in zip(outputs, features.values()):
        torch.testing.assert_close(torch.as_tensor(output), feature, rtol=tolerance, atol=tolerance)


CONVERSIONS = {
    # A network returns a dict, which torch traces only when told that it may.
    "traced": lambda net, image: torch.jit.trace(net, image, strict=False),
    "exported": lambda net, image: torch.export.export(net, (image,)).module(),
    # The eager backend takes the same graph as the others and needs no compiler; a graph break is an error.
    "compiled as one graph": lambda net, image: torch.compile(net, fullgraph=True, backend="eager"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_a_network_can_be(conversion, network):
    net, image, features = network
    with torch.no_grad():
        assert_close(CONVERSIONS[conversion](net, image)(image).values(), features, 1e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_network_runs_as_onnx_with_equal_outputs(network, tmp_path):
    net, image, features = network
    torch.onnx.export(net, (image,), tmp_path / "net.onnx", dynamo=True, opset_version=18, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    assert_close(session.run(None, {session.get_inputs()[0].name: image.numpy()}), features)
