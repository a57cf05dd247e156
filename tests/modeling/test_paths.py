import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer

import detnas
from detnas.modeling.backbone import DetNASNet, DetNASSupernet

SPACE = detnas.get_space("tiny")
PATH = SPACE.parse("01-23-32-10")


def equal_states(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_path_that_is_put_into_a_supernet_and_taken_out_again_is_unchanged():
    net, supernet = DetNASNet(SPACE, PATH), DetNASSupernet(SPACE)
    state = detnas.insert_path(supernet.state_dict(), net.state_dict(), SPACE, PATH)
    assert equal_states(detnas.select_path(state, SPACE, PATH), dict(net.state_dict()))


@pytest.mark.parametrize("shuffle", ["even_odd", "interleave"])
def test_a_supernet_with_a_networks_weights_in_a_path_gives_its_outputs(shuffle):
    net, supernet = DetNASNet(SPACE, PATH, shuffle=shuffle), DetNASSupernet(SPACE, shuffle=shuffle)
    supernet.load_state_dict(detnas.insert_path(supernet.state_dict(), net.state_dict(), SPACE, PATH))
    supernet.path = PATH
    image = torch.rand(1, 3, 64, 64)
    outputs, expected = supernet.eval()(image), net.eval()(image)
    assert all(torch.equal(outputs[name], expected[name]) for name in expected)


def test_what_a_path_leaves_out_stays_the_supernets():
    net, supernet = DetNASNet(SPACE, PATH), DetNASSupernet(SPACE)
    before = supernet.state_dict()
    state = detnas.insert_path(before, net.state_dict(), SPACE, PATH)
    other = tuple((op + 1) % 4 for op in PATH)
    kept = [k for k in detnas.select_path(before, SPACE, other) if k.startswith("stage")]
    a, b = detnas.select_path(before, SPACE, other), detnas.select_path(state, SPACE, other)
    assert kept and all(torch.equal(a[key], b[key]) for key in kept)


def test_inserting_works_under_the_names_of_a_detector():
    net, supernet = DetNASNet(SPACE, PATH), DetNASSupernet(SPACE)
    prefixed = [{f"backbone.bottom_up.{k}": v for k, v in m.state_dict().items()} for m in (supernet, net)]
    state = detnas.insert_path(*prefixed, SPACE, PATH)
    assert equal_states(detnas.select_path(state, SPACE, PATH), prefixed[1])


def test_inserting_a_network_of_another_path_is_an_error_that_names_the_first_tensor():
    net, supernet = DetNASNet(SPACE, (0,) * 8), DetNASSupernet(SPACE)
    with pytest.raises(ValueError, match=r"stage1\.0\.3\.\S+ \(.*\) does not fit into the supernet"):
        detnas.insert_path(supernet.state_dict(), net.state_dict(), SPACE, (3,) * 8)


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


def test_weights_that_do_not_say_their_split_are_loaded():
    net = DetNASNet(SPACE, PATH)
    state = {key: value for key, value in net.state_dict().items() if key != "split"}
    DetNASNet(SPACE, PATH, shuffle="interleave").load_state_dict(state)


def test_weights_pass_between_frozen_and_other_batch_norm(tmp_path):
    net, frozen = DetNASNet(SPACE, PATH), DetNASNet(SPACE, PATH, norm="FrozenBN")
    torch.save(net.state_dict(), tmp_path / "net.pth")
    detnas.load_weights(frozen, str(tmp_path / "net.pth"))
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(frozen.eval()(image)["stage4"], net.eval()(image)["stage4"])
