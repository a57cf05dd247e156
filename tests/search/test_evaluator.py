import logging

import pytest
import torch
from detectron2.modeling import build_model
from toy_runs import RETINANET, classification, detection, retinanet, toy_setup

from detnas.batch_norm.recalibration import build_recalibration_batches
from detnas.search.evaluator import CandidateEvaluator, flatten

A, B = (2, 1, 3, 0, 1, 2, 0, 3), (0, 0, 1, 1, 2, 2, 3, 3)
DATA = {
    "toy_1_pretrain_supernet": (classification, "classification/top1"),
    "toy_2_train_supernet": (detection, "bbox/AP"),
    RETINANET: (retinanet, "bbox/AP"),
}


@pytest.fixture(params=list(DATA))
def run(request, toy_root, tmp_path):
    """(config, checkpoint of random weights, a metric it reports)."""
    data, metric = DATA[request.param]
    overrides = {
        **data(toy_root),
        "OUTPUT_DIR": tmp_path,
        "SEARCH.RECALIBRATION_IMAGES": 6,
        "SEARCH.RECALIBRATION_BATCH": 4,
    }
    cfg = toy_setup(request.param, overrides)
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
        outputs = evaluator.model(next(iter(evaluator.held_out)))
    return outputs[0]["scores"] if "scores" in outputs[0] else outputs[0]["instances"].scores


def off_path(path):
    blocks = enumerate(path)
    return [f"stage{i // 2 + 1}.{i % 2}.{op}." for i, sampled in blocks for op in range(4) if op != sampled]


def test_a_path_has_the_same_result_before_and_after_another_one(run):
    cfg, weights, metric = run
    evaluator = CandidateEvaluator(cfg, weights)
    found = []
    for path in (A, B, A):
        metrics = evaluator(path)
        assert metric in metrics
        shared = {n: b for n, b in buffers(evaluator).items() if not any(part in n for part in off_path(A))}
        found.append((metrics, shared, scores(evaluator)))
    (first, first_shared, first_scores), (_, other_shared, other_scores), (again, again_shared, again_scores) = found
    assert first == again and torch.equal(first_scores, again_scores)
    assert all(torch.equal(first_shared[name], again_shared[name]) for name in first_shared)
    assert not all(torch.equal(first_shared[name], other_shared[name]) for name in first_shared)
    assert not torch.equal(first_scores, other_scores)


def test_two_evaluators_agree_whatever_ran_before(run):
    cfg, weights, _ = run
    first, second = CandidateEvaluator(cfg, weights), CandidateEvaluator(cfg, weights)
    second(B)
    torch.manual_seed(123)
    assert first(A) == second(A)
    assert torch.equal(scores(first), scores(second))


def test_without_recalibration_the_statistics_of_the_checkpoint_stay(run):
    cfg, weights, _ = run
    evaluator = CandidateEvaluator(cfg, weights, recalibrate=False)
    evaluator(A)
    saved = torch.load(weights, weights_only=True)["model"]
    assert all(torch.equal(saved[name], value) for name, value in buffers(evaluator).items())


def test_recalibration_changes_the_statistics_and_what_the_model_says(run):
    cfg, weights, _ = run
    with_it, without = CandidateEvaluator(cfg, weights), CandidateEvaluator(cfg, weights, recalibrate=False)
    with_it(A)
    without(A)
    assert not torch.equal(scores(with_it), scores(without))
    saved = torch.load(weights, weights_only=True)["model"]
    changed = {name for name, value in buffers(with_it).items() if not torch.equal(saved[name], value)}
    assert changed and not any(part in name for name in changed for part in off_path(A))


def test_every_parameter_stays_as_it_was_in_the_checkpoint(run):
    cfg, weights, _ = run
    evaluator = CandidateEvaluator(cfg, weights)
    evaluator(A)
    evaluator(B)
    saved = torch.load(weights, weights_only=True)["model"]
    assert all(torch.equal(saved[name], p) for name, p in evaluator.model.named_parameters())


def test_recalibration_images_are_the_same_each_time_and_drawn_by_the_seed(run):
    cfg, _, _ = run
    batches = [build_recalibration_batches(cfg) for _ in range(2)]
    ids = [[[x["image_id"] for x in batch] for batch in run_of] for run_of in batches]
    assert ids[0] == ids[1] and [len(batch) for batch in ids[0]] == [4, 2]
    assert len({i for batch in ids[0] for i in batch}) == 6
    for first, second in zip(*batches):
        assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, second))
    others = []
    for seed in range(1, 4):
        other = cfg.clone()
        other.defrost()
        other.SEED = seed
        others.append({x["image_id"] for batch in build_recalibration_batches(other) for x in batch})
    assert any(other != {i for batch in ids[0] for i in batch} for other in others)


def test_recalibration_uses_no_held_out_image(run):
    cfg, _, _ = run
    batches = build_recalibration_batches(cfg)
    assert all("/train/" in x["file_name"] for batch in batches for x in batch)


def test_fewer_training_images_than_recalibration_asks_for_are_all_taken_without_a_warning(run, caplog):
    cfg = run[0].clone()
    cfg.defrost()
    cfg.SEARCH.RECALIBRATION_IMAGES = 1000
    with caplog.at_level(logging.INFO):
        images = [x["image_id"] for batch in build_recalibration_batches(cfg) for x in batch]
    assert len(images) == len(set(images)) and len(images) in (8, 32)
    assert f"takes all {len(images)} training images; SEARCH.RECALIBRATION_IMAGES is 1000" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_single_network_cannot_be_searched(run):
    cfg = run[0].clone()
    cfg.defrost()
    cfg.MODEL.DETNAS.ARCH = "21301203"
    with pytest.raises(ValueError, match='a search needs MODEL.DETNAS.ARCH "supernet"; it is "21301203"'):
        CandidateEvaluator(cfg, run[1])


def test_a_search_takes_one_held_out_set(run):
    cfg = run[0].clone()
    cfg.defrost()
    cfg.DATASETS.TEST = (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN)
    with pytest.raises(ValueError, match="DATASETS.TEST names 2"):
        CandidateEvaluator(cfg, run[1])


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


def changed(cfg, **search):
    cfg = cfg.clone()
    cfg.defrost()
    for key, value in search.items():
        cfg.SEARCH[key] = value
    return cfg


def test_how_many_images_share_a_pass_does_not_matter(run):
    cfg, weights, metric = run
    found = [CandidateEvaluator(changed(cfg, EVALUATION_BATCH=size), weights)(A)[metric] for size in (1, 3, 8)]
    assert found[1:] == pytest.approx(found[:1] * 2, abs=0.01)


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
@pytest.mark.parametrize("step", ["recalibrate", "predict"])
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
        getattr(evaluator, step)()
    hook.remove()
    evaluator(A)
    assert all(torch.equal(value, expected[name]) for name, value in buffers(evaluator).items() if "head" in name)
    assert torch.equal(scores(evaluator), detected)
