import logging

import pytest
import torch
from detectron2.modeling import build_model
from toy_runs import RETINANET, classification, detection, retinanet, toy_setup

from detnas.batch_norm.recalibration import build_recalibration_batches
from detnas.config.load import with_settings
from detnas.search.evaluator import CandidateEvaluator, flatten

A, B = (2, 1, 3, 0, 1, 2, 0, 3), (0, 0, 1, 1, 2, 2, 3, 3)
DATA = {
    "toy_1_pretrain_supernet": (classification, "classification/top1"),
    "toy_2_train_supernet": (detection, "bbox/AP"),
    RETINANET: (retinanet, "bbox/AP"),
}
#: where it matters not which network it is
detector = pytest.mark.parametrize("run", ["toy_2_train_supernet"], indirect=True)


@pytest.fixture(params=list(DATA))
def run(request, toy_root, tmp_path):
    """(config, checkpoint of random weights, a metric it reports)."""
    data, metric = DATA[request.param]
    batches = {"SEARCH.RECALIBRATION_IMAGES": 6, "SEARCH.RECALIBRATION_BATCH": 4}
    cfg = toy_setup(request.param, {**data(toy_root), **batches, "OUTPUT_DIR": tmp_path})
    torch.manual_seed(0)
    model = build_model(cfg)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    torch.save({"model": model.state_dict()}, tmp_path / "supernet.pth")
    return cfg, str(tmp_path / "supernet.pth"), metric


def buffers(evaluator):
    return {name: b.clone() for name, b in evaluator.model.named_buffers() if "running_" in name}


def scores(evaluator):
    """What the model says about the first held-out images."""
    with torch.no_grad():
        outputs = evaluator.model(next(iter(evaluator.held_out[0])))
    return outputs[0]["scores"] if "scores" in outputs[0] else outputs[0]["instances"].scores


def changed(cfg, **search):
    return with_settings(cfg, {f"SEARCH.{key}": value for key, value in search.items()})


def test_a_path_has_the_same_result_whatever_ran_before_and_no_parameter_changes(run):
    cfg, weights, metric = run
    evaluator = CandidateEvaluator(cfg, weights)
    first, first_scores = evaluator(A), scores(evaluator)
    assert metric in first
    evaluator(B)
    assert not torch.equal(scores(evaluator), first_scores)
    torch.manual_seed(123)
    for again in (evaluator, CandidateEvaluator(cfg, weights)):
        assert again(A) == first and torch.equal(scores(again), first_scores)
    saved = torch.load(weights, weights_only=True)["model"]
    assert all(torch.equal(saved[name], p) for name, p in evaluator.model.named_parameters())


def test_recalibration_changes_what_the_model_says_and_without_it_the_statistics_of_the_checkpoint_stay(run):
    cfg, weights, _ = run
    with_it, without = CandidateEvaluator(cfg, weights), CandidateEvaluator(cfg, weights, recalibrate=False)
    with_it(A)
    without(A)
    assert not torch.equal(scores(with_it), scores(without))
    saved = torch.load(weights, weights_only=True)["model"]
    assert all(torch.equal(saved[name], value) for name, value in buffers(without).items())


def images_of(batches):
    return [x["image_id"] for batch in batches for x in batch]


@detector
def test_recalibration_images_are_of_the_training_set_the_same_each_time_and_drawn_by_the_seed(run):
    cfg = changed(run[0])
    batches, again = (build_recalibration_batches(cfg) for _ in range(2))
    assert [len(batch) for batch in batches] == [4, 2] and len(set(images_of(batches))) == 6
    assert all("/train/" in x["file_name"] for batch in batches for x in batch)
    for first, second in zip(batches, again):
        assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, second, strict=True))
    others = [images_of(build_recalibration_batches(with_settings(cfg, {"SEED": seed}))) for seed in range(1, 4)]
    assert any(set(other) != set(images_of(batches)) for other in others)


@detector
def test_fewer_training_images_than_recalibration_asks_for_are_all_taken_without_a_warning(run, caplog):
    with caplog.at_level(logging.INFO):
        images = images_of(build_recalibration_batches(changed(run[0], RECALIBRATION_IMAGES=1000)))
    assert len(images) == len(set(images)) == 8
    assert "takes all 8 training images; SEARCH.RECALIBRATION_IMAGES is 1000" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@detector
def test_a_single_network_cannot_be_searched_nor_on_two_held_out_sets(run):
    cfg = changed(run[0])
    cfg.MODEL.DETNAS.ARCH = "21301203"
    with pytest.raises(ValueError, match='a search needs MODEL.DETNAS.ARCH "supernet"; it is "21301203"'):
        CandidateEvaluator(cfg, run[1])
    cfg.DATASETS.TEST = (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN)
    with pytest.raises(ValueError, match="DATASETS.TEST names 2"):
        CandidateEvaluator(cfg, run[1])


@detector
def test_weights_that_lack_a_name_are_refused(run, tmp_path):
    cfg, weights, _ = run
    state = torch.load(weights, weights_only=True)["model"]
    # One of the head: a training may start with a new head, a search may not.
    gone = next(name for name in state if not name.startswith("backbone."))
    del state[gone]
    torch.save({"model": state}, tmp_path / "part.pth")
    with pytest.raises(ValueError, match=f"1 names are missing in the file .{gone}"):
        CandidateEvaluator(cfg, str(tmp_path / "part.pth"))


def test_what_could_not_be_computed_is_none():
    results = {"bbox": {"AP": 12.5, "APl": float("nan"), "AP-cross": float("inf")}, "segm": {"AP": 3}}
    assert flatten(results) == {"bbox/AP": 12.5, "bbox/APl": None, "bbox/AP-cross": None, "segm/AP": 3.0}


def test_how_many_images_share_a_pass_does_not_matter(run):
    cfg, weights, metric = run
    found = [CandidateEvaluator(changed(cfg, EVALUATION_BATCH=size), weights)(A)[metric] for size in (1, 3, 8)]
    assert found[1:] == pytest.approx(found[:1] * 2, abs=0.01)


@detector
@pytest.mark.parametrize("gigabytes", [0.0, 1e-4])
def test_images_that_are_read_again_give_the_same_result(run, gigabytes):
    cfg, weights, _ = run
    evaluator = CandidateEvaluator(changed(cfg, IMAGE_CACHE_GB=gigabytes), weights)
    assert evaluator(A) == evaluator(A) == CandidateEvaluator(cfg, weights)(A)


@pytest.mark.parametrize("settings", [{"AUTOCAST": "bf16"}, {"CHANNELS_LAST": True}])
def test_the_faster_ways_run_and_repeat_themselves(run, settings):
    cfg, weights, metric = run
    evaluator = CandidateEvaluator(changed(cfg, **settings), weights)
    first = evaluator(A)
    evaluator(B)
    assert evaluator(A) == first and first[metric] is not None


@pytest.mark.parametrize("run", [RETINANET], indirect=True)
@pytest.mark.parametrize("step", [CandidateEvaluator.recalibrate, lambda one: one.collect(one.held_out[0])])
def test_a_candidate_that_fails_within_a_pass_does_not_change_the_next_one(run, step):
    cfg, weights, _ = run
    evaluator = CandidateEvaluator(cfg, weights)
    evaluator(A)
    expected, detected = buffers(evaluator), scores(evaluator)
    evaluator.activate(B)

    def fails(*args):
        raise MemoryError

    hook = evaluator.model.head.bbox_subnet[0].register_forward_hook(fails)
    with pytest.raises(MemoryError):
        step(evaluator)
    hook.remove()
    evaluator(A)
    assert all(torch.equal(value, expected[name]) for name, value in buffers(evaluator).items() if "head" in name)
    assert torch.equal(scores(evaluator), detected)
