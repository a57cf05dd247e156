import functools
import os
import pickle

import pytest
import torch
from detectron2.modeling import build_model

from detnas import load_weights
from detnas.errors import UserError
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


def is_equal(state, other, keys):
    return all(torch.equal(state[key], other[key]) for key in keys)


def body_keys(model):
    return [key for key in model.state_dict() if key.startswith(BODY)]


class WritesAFile:
    """A pickle of it writes a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("dump", [functools.partial(pickle.dump, protocol=2), torch.save], ids=["pickle", "torch"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, dump):
    trap, path = tmp_path / "trap", tmp_path / "model.pth"
    with open(path, "wb") as f:
        dump({"model": {"a": torch.ones(1)}, "more": WritesAFile(trap)}, f)
    with pytest.raises(ValueError, match=r"weights .*model.pth cannot be read as a checkpoint: "):
        read_checkpoint(str(path))
    assert not trap.exists()


def test_resuming_refuses_a_pickle_that_runs_code_too(tmp_path, classifier):
    trap, path = tmp_path / "trap", tmp_path / "model.pth"
    torch.save({"model": classifier.state_dict(), "more": WritesAFile(trap)}, path)
    with pytest.raises(pickle.UnpicklingError):
        SafeCheckpointer(classifier).load(str(path))
    assert not trap.exists()


def test_a_missing_file_is_named(tmp_path):
    path = str(tmp_path / "none.pth")
    with pytest.raises(UserError) as e:
        read_checkpoint(path)
    assert str(e.value).startswith(f"weights {path} do not exist; the step before writes them")


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
    ids=["list", "tensor", "empty", "empty model", "number", "tensors and a number", "model a number", "model a list",
         "model a tensor", "names no strings"],
)
def test_a_file_without_a_state_dict_is_refused(save, content):
    path = save(content)
    with pytest.raises(ValueError) as e:
        read_checkpoint(path)
    assert str(e.value) == f"weights {path} are no state dict: expected names with tensors"


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model": state, "iteration": 3}])
def test_a_state_dict_is_read_with_and_without_the_rest_of_a_checkpoint(save, wrap):
    state = read_checkpoint(save(wrap({"a": torch.ones(2), "b.c": torch.zeros(1)})))
    assert list(state) == ["a", "b.c"]
    assert torch.equal(state["a"], torch.ones(2))


def test_the_prefix_of_distributed_training_is_dropped(save):
    state = read_checkpoint(save({"module.a": torch.ones(1), "b.module.c": torch.ones(1)}))
    assert list(state) == ["a", "b.module.c"]


def test_all_weights_of_a_file_are_loaded(build, classifier, save):
    other = build("toy_4_pretrain", "MODEL.CLASSIFIER.NUM_CLASSES", "5", seed=1)
    assert not torch.equal(other.linear.weight, classifier.linear.weight)
    load_weights(other, save({"model": classifier.state_dict()}))
    assert is_equal(other.state_dict(), classifier.state_dict(), classifier.state_dict())


def test_missing_names_are_refused_and_listed(classifier, save):
    state = classifier.state_dict()
    del state["linear.bias"], state["backbone.last.0.weight"]
    with pytest.raises(ValueError) as e:
        load_weights(classifier, save(state))
    assert "do not match the model: 2 names are missing in the file (" in str(e.value)
    assert "linear.bias" in str(e.value) and "backbone.last.0.weight" in str(e.value)


@pytest.mark.parametrize(
    "names, words",
    [
        (["linear.bias"], "1 shapes differ (linear.bias)"),
        (["linear.scale"], "1 names of the file are unknown to the model (linear.scale)"),
        (["a", "b", "c", "d"], "4 names of the file are unknown to the model (a, b, c, ...)"),
    ],
)
def test_other_shapes_and_unknown_names_are_refused_and_the_first_three_listed(classifier, save, names, words):
    with pytest.raises(ValueError) as e:
        load_weights(classifier, save({**classifier.state_dict(), **dict.fromkeys(names, torch.ones(1))}))
    assert str(e.value).endswith(f": {words}")


@pytest.mark.parametrize("new_heads", [False, True])
def test_a_refused_file_leaves_the_model_as_it_was(classifier, save, new_heads):
    before = snapshot(classifier)
    state = {key: value + 1 for key, value in before.items()}
    del state[BODY + "stem.0.weight"]
    with pytest.raises(ValueError, match="stem.0.weight"):
        load_weights(classifier, save(state), new_heads=new_heads)
    assert is_equal(before, classifier.state_dict(), before)


def test_the_pixel_statistics_of_detectron2_are_no_unknown_names(classifier, save):
    statistics = {"pixel_mean": torch.full((3, 1, 1), 9.0), "pixel_std": torch.full((3, 1, 1), 9.0)}
    load_weights(classifier, save({**classifier.state_dict(), **statistics}))
    assert classifier.pixel_mean.unique().tolist() == [0]


def test_a_classifiers_body_passes_to_a_detector_and_its_tail_does_not(classifier, detector, save):
    before = snapshot(detector)
    load_weights(detector, save({"model": classifier.state_dict()}), new_heads=True)
    after, body = detector.state_dict(), body_keys(detector)
    assert body == body_keys(classifier)
    assert is_equal(after, classifier.state_dict(), body)
    assert is_equal(after, before, set(after) - set(body))


@pytest.mark.parametrize("edit", ["missing", "unexpected", "shape"])
def test_with_new_heads_the_body_must_still_match_in_full(classifier, detector, save, edit):
    state, key = classifier.state_dict(), BODY + "stage2.1.main.0.weight"
    if edit == "missing":
        del state[key]
    elif edit == "shape":
        state[key] = state[key][:1]
    else:
        key = BODY + "stage2.1.0.main.0.weight"
        state[key] = torch.ones(1)
    with pytest.raises(ValueError, match="do not match the model: 1 ") as e:
        load_weights(detector, save({k: v for k, v in state.items() if k.startswith(BODY)} | heads(detector)), True)
    assert key in str(e.value)


def heads(model):
    return {key: value for key, value in model.state_dict().items() if not key.startswith(BODY)}


@pytest.mark.parametrize("arch", ["supernet", "30-12-21-02"])
def test_with_new_heads_the_weights_of_another_network_are_refused(build, detector, save, arch):
    other = build("toy_4_pretrain", "MODEL.DETNAS.ARCH", arch)
    with pytest.raises(ValueError, match="do not match the model"):
        load_weights(detector, save(other.state_dict()), new_heads=True)


def test_with_new_heads_a_file_without_a_body_is_refused(detector, save):
    with pytest.raises(ValueError, match="names are missing in the file"):
        load_weights(detector, save(heads(detector)), new_heads=True)


def test_with_new_heads_another_number_of_classes_starts_the_head_anew(build, classifier, save):
    other = build("toy_4_pretrain", "MODEL.CLASSIFIER.NUM_CLASSES", "7", seed=1)
    before = snapshot(other)
    load_weights(other, save(classifier.state_dict()), new_heads=True)
    after = other.state_dict()
    changed_shape = {"linear.weight", "linear.bias"}
    assert is_equal(after, before, changed_shape)
    assert is_equal(after, classifier.state_dict(), set(after) - changed_shape)


def test_with_new_heads_equal_heads_are_loaded(build, detector, save):
    other = build("toy_4_retrain", seed=2)
    load_weights(other, save(detector.state_dict()), new_heads=True)
    assert is_equal(other.state_dict(), detector.state_dict(), detector.state_dict())


def test_other_classes_start_the_last_layers_of_a_detector_anew_and_a_line_says_so(build, detector, save, caplog):
    other = build("toy_4_retrain", "MODEL.ROI_HEADS.NUM_CLASSES", "7", seed=2)
    before = snapshot(other)
    path = save(detector.state_dict())
    with caplog.at_level("INFO"):
        load_weights(other, path, new_heads=True)
    after = other.state_dict()
    layers = [f"roi_heads.box_predictor.{name}" for name in ("cls_score", "bbox_pred")]
    anew = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert is_equal(after, before, anew) and is_equal(after, detector.state_dict(), set(after) - anew)
    loaded, new = caplog.messages
    assert loaded == f"Loaded {path}: {len(after) - 4} of the model's {len(after)} names"
    assert new.startswith("4 names start from random values: roi_heads.box_predictor.cls_score.weight, ")
