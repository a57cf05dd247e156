import functools
import os
import pickle

import pytest
import torch
from detectron2.modeling import build_model

from detnas import load_weights
from detnas.modeling.weights import BODY, read_checkpoint
from detnas.training.checkpoints import SafeCheckpointer

ARCH = ("MODEL.DETNAS.ARCH", "30-12-21-03")


@pytest.fixture
def build(toy_config):
    """Function (config name, *overrides) -> a model with random weights, other ones for another seed."""

    def build(name, *overrides, seed=0):
        torch.manual_seed(seed)
        return build_model(toy_config(name, *ARCH, *overrides))

    return build


@pytest.fixture
def classifier(build):
    return build("toy_4_pretrain", "MODEL.CLASSIFIER.NUM_CLASSES", "5")


@pytest.fixture
def detector(build):
    return build("toy_4_retrain", seed=1)


@pytest.fixture
def save(tmp_path):
    """Function (content) -> path of a file that holds it."""

    def save(content):
        path = tmp_path / "model.pth"
        torch.save(content, path)
        return str(path)

    return save


def snapshot(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(state, other):
    """{name: whether both have equal tensors}"""
    return {key: torch.equal(value, other[key]) for key, value in state.items() if key in other}


class WritesAFile:
    """A pickle of it writes a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("dump", [functools.partial(pickle.dump, protocol=2), torch.save], ids=["pickle", "torch"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, classifier, dump):
    trap, path = tmp_path / "trap", tmp_path / "model.pth"
    with open(path, "wb") as f:
        dump({"model": classifier.state_dict(), "more": WritesAFile(trap)}, f)
    with pytest.raises(ValueError, match=r"weights .*model.pth cannot be read as a checkpoint: "):
        read_checkpoint(str(path))
    # Nor by a training that is resumed.
    with pytest.raises(pickle.UnpicklingError):
        SafeCheckpointer(classifier).load(str(path))
    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint\n", b"PK\x03\x04 a zip that breaks off"],
                         ids=["empty", "text", "broken zip"])
def test_a_file_of_something_else_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a checkpoint") as e:
        read_checkpoint(str(path))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "content",
    [
        [torch.ones(1)],
        torch.ones(2),
        {},
        {"model": {}},
        {"model": {"a": 3}},
        {"a": torch.ones(1), "epoch": 3},
        {"model": 3},
        {"model": [1, 2]},
        {"model": torch.ones(2)},
        {1: torch.ones(1)},
    ],
    ids=str,
)
def test_a_file_without_a_state_dict_is_refused(save, content):
    path = save(content)
    with pytest.raises(ValueError) as e:
        read_checkpoint(path)
    assert str(e.value) == f"weights {path} are no state dict: expected names with tensors"


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model": state, "iteration": 3}])
def test_a_state_dict_is_read_with_and_without_the_rest_of_a_checkpoint_and_the_prefix_of_several_gpus(save, wrap):
    state = read_checkpoint(save(wrap({"module.a": torch.ones(2), "b.module.c": torch.zeros(1)})))
    assert list(state) == ["a", "b.module.c"] and torch.equal(state["a"], torch.ones(2))


@pytest.mark.parametrize("new_heads", [False, True])
def test_all_weights_of_a_file_are_loaded_but_detectron2s_pixel_statistics(build, detector, save, new_heads):
    other = build("toy_4_retrain", seed=2)
    assert not all(same(other.state_dict(), detector.state_dict()).values())
    statistics = {"pixel_mean": torch.full((3, 1, 1), 9.0), "pixel_std": torch.full((3, 1, 1), 9.0)}
    load_weights(other, save({"model": {**detector.state_dict(), **statistics}}), new_heads=new_heads)
    assert all(same(other.state_dict(), detector.state_dict()).values()) and not (other.pixel_mean == 9).any()


@pytest.mark.parametrize("change, words", [
    ({"linear.bias": torch.ones(1)}, "1 shapes differ (linear.bias)"),
    ({"linear.scale": torch.ones(1)}, "1 names of the file are unknown to the model (linear.scale)"),
    (dict.fromkeys("abcd", torch.ones(1)), "4 names of the file are unknown to the model (a, b, c, ...)"),
    ({"linear.bias": None, "linear.weight": None}, "2 names are missing in the file (linear.weight, linear.bias)"),
])
def test_missing_and_unknown_names_and_other_shapes_are_refused_and_the_first_three_listed(
    classifier, save, change, words
):
    state = {key: value for key, value in {**classifier.state_dict(), **change}.items() if value is not None}
    with pytest.raises(ValueError) as e:
        load_weights(classifier, save(state))
    assert str(e.value).endswith(f" do not match the model: {words}")


@pytest.mark.parametrize("new_heads", [False, True])
def test_a_refused_file_leaves_the_model_as_it_was(classifier, save, new_heads):
    before = snapshot(classifier)
    state = {key: value + 1 for key, value in before.items()}
    del state[BODY + "stem.0.weight"]
    with pytest.raises(ValueError, match="stem.0.weight"):
        load_weights(classifier, save(state), new_heads=new_heads)
    assert all(same(before, classifier.state_dict()).values())


def test_a_classifiers_body_passes_to_a_detector_and_its_tail_does_not(classifier, detector, save):
    before = snapshot(detector)
    load_weights(detector, save({"model": classifier.state_dict()}), new_heads=True)
    after = detector.state_dict()
    taken, kept = same(after, classifier.state_dict()), same(after, before)
    assert all(taken[key] if key.startswith(BODY) else kept[key] for key in after)


@pytest.mark.parametrize("edit", ["missing", "unexpected", "shape"])
def test_with_new_heads_the_body_must_still_match_in_full(detector, save, edit):
    state, key = snapshot(detector), BODY + "stage2.1.main.0.weight"
    if edit == "missing":
        del state[key]
    elif edit == "shape":
        state[key] = state[key][:1]
    else:
        key = BODY + "stage2.1.0.main.0.weight"
        state[key] = torch.ones(1)
    with pytest.raises(ValueError, match="do not match the model: 1 ") as e:
        load_weights(detector, save(state), new_heads=True)
    assert key in str(e.value)


@pytest.mark.parametrize("arch", ["supernet", "30-12-21-02"])
def test_with_new_heads_the_weights_of_another_network_are_refused(build, detector, save, arch):
    other = build("toy_4_pretrain", "MODEL.DETNAS.ARCH", arch)
    with pytest.raises(ValueError, match="do not match the model"):
        load_weights(detector, save(other.state_dict()), new_heads=True)


def test_other_classes_start_the_last_layers_of_a_detector_anew_and_a_line_says_so(build, detector, save, caplog):
    other = build("toy_4_retrain", "MODEL.ROI_HEADS.NUM_CLASSES", "7", seed=2)
    before = snapshot(other)
    path = save(detector.state_dict())
    with caplog.at_level("INFO"):
        load_weights(other, path, new_heads=True)
    after = other.state_dict()
    layers = [f"roi_heads.box_predictor.{name}" for name in ("cls_score", "bbox_pred")]
    anew = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    taken, kept = same(after, detector.state_dict()), same(after, before)
    assert all(kept[key] if key in anew else taken[key] for key in after)
    loaded, new = caplog.messages
    assert loaded == f"Loaded {path}: {len(after) - 4} of the model's {len(after)} names"
    assert new.startswith("4 names start from random values: roi_heads.box_predictor.cls_score.weight, ")
