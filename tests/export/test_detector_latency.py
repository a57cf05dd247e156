"""The latency of exported detectors, measured and predicted, on the demo's small space."""

import random

import pytest
import torch
from detectron2.config import CfgNode

from detnas import get_space
from detnas.cost.limits import Limits, without_latency
from detnas.export import detector_latency, latency_predictor, traced
from detnas.export.detector_latency import DetectorMeter, times_in_turns
from detnas.export.latency_predictor import LatencyPredictor, build_latency_predictor

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
TINY = get_space("tiny")
PATH = TINY.parse("01-23-01-23")


@pytest.fixture(autouse=True)
def few_runs(monkeypatch):
    monkeypatch.setattr(detector_latency, "FEWEST", 2)
    monkeypatch.setattr(detector_latency, "MOST", 2)
    monkeypatch.setattr(latency_predictor, "RUNS", 2)
    monkeypatch.setattr(latency_predictor, "HELD_OUT", 2)
    monkeypatch.setattr(latency_predictor, "FITTED", 0)


@pytest.fixture
def cfg(toy_config, tmp_path):
    return toy_config("toy_2_train_supernet", "OUTPUT_DIR", str(tmp_path), "SEARCH.DETECTOR_RESOLUTION", "(64, 96)")


def test_a_detector_of_another_config_is_measured_anew_and_nothing_that_is_drawn_later_changes(cfg, tmp_path):
    cache, state = str(tmp_path / "latency.json"), torch.get_rng_state()
    assert DetectorMeter(cfg, TINY, cache)([PATH])[0] > 0 and torch.equal(torch.get_rng_state(), state)
    # Neither changes a time.
    cfg.MODEL.WEIGHTS, cfg.MODEL.ANOTHER = "other.pth", CfgNode({"SETTING": 1})
    assert DetectorMeter(cfg, TINY, cache).times.known
    for words in (["MODEL.RPN.POST_NMS_TOPK_TEST", "5"], ["MODEL.ROI_BOX_HEAD.FC_DIM", "8"]):
        other = cfg.clone()
        other.merge_from_list(words)
        assert not DetectorMeter(other, TINY, cache).times.known


def test_a_detector_has_all_the_proposals_it_can_have_and_keeps_none(cfg):
    cfg.SEARCH.DETECTOR_RESOLUTION = (128, 128)
    meter, counts = DetectorMeter(cfg, TINY), []
    build = detector_latency.build_network

    def watched(config):
        model = build(config)
        model.proposal_generator.register_forward_hook(lambda _, inputs, output: counts.append(len(output[0][0])))
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector_latency, "build_network", watched)
        data, image = meter._export(PATH)
    assert counts[-1] == cfg.MODEL.RPN.POST_NMS_TOPK_TEST
    assert len(meter.run_of(data, image)()[0]) == 0


def test_functions_run_in_turns_and_the_first_runs_after_another_do_not_count(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(detector_latency.time, "perf_counter", lambda: clock[0])

    def function(name, seconds):
        def run():
            cold = name not in calls[-1:]
            calls.append(name)
            clock[0] += seconds * (1 + cold)
        return run

    times = times_in_turns([function("small", 0.003), function("large", 0.02)])
    # 6 + 3 + 3 ms do not count, 4 x 3 do; one run of the other alone fills a turn, so it takes two rounds.
    assert calls == ["small"] * 7 + ["large"] * 4
    assert times == [pytest.approx([3.0] * 4), pytest.approx([20.0] * 2)]


def test_a_sum_over_blocks_is_found_again_from_the_times_of_some_networks():
    blocks = [[1.0, 2.0], [3.0, 5.0], [0.5, 0.7]]
    times = {path: 40.0 + 1.5 * sum(ops[op] for ops, op in zip(blocks, path)) for path in ((0, 0, 0), (1, 1, 1))}
    predictor = LatencyPredictor.fit(blocks, times, None)
    assert predictor.constant == pytest.approx(40.0) and predictor.predict((0, 1, 0)) == pytest.approx(40 + 1.5 * 6.5)
    # Times that fall while the blocks' rise are noise.
    noise = LatencyPredictor.fit(blocks, {(0, 0, 0): 50.0, (1, 1, 1): 40.0}, None)
    assert noise.predict((1, 1, 1)) - noise.predict((0, 0, 0)) == pytest.approx(0.5 * 3.2)


@pytest.mark.parametrize("busy", [False, True])
def test_a_search_warns_where_times_are_predicted_badly(cfg, monkeypatch, busy):
    said = []
    monkeypatch.setattr(latency_predictor.logger, "warning", said.append)
    # The times are given, so that nothing needs to be exported.
    monkeypatch.setattr(DetectorMeter, "_export", lambda self, path: (None, None))
    monkeypatch.setattr(DetectorMeter, "run_of", lambda self, data, image: None)
    monkeypatch.setattr(latency_predictor, "module_to_onnx", lambda op, image: None)
    monkeypatch.setattr(latency_predictor, "median_times", lambda runs, seconds, most: [1.0] * len(runs))
    times = lambda runs: [10.0 * (1 + busy * (number % 2)) for number in range(len(runs))]  # noqa: E731
    monkeypatch.setattr(detector_latency, "median_times", times)
    build_latency_predictor(cfg, TINY)
    assert len(said) == busy and all("errors above 5%" in line and "latency.json" in line for line in said)


def test_it_limits_and_can_be_reached_or_not_and_says_error_and_order(cfg):
    predictor = LatencyPredictor(10.0, ((1.0, 2.0, 3.0, 4.0),) * 8, None)
    found = Limits(TINY, ["detector_latency_ms <= 20"], predictor)
    assert found((0,) * 8) and not found((3,) * 8) and predictor.cost("detector_latency_ms", (1,) * 8) == 26.0
    assert found(found.repair((3,) * 8, random.Random(0)))
    with pytest.raises(ValueError, match="at most 17.0 ms detector_latency_ms; the smallest has 18.0 ms"):
        Limits(TINY, ["detector_latency_ms <= 17"], predictor)
    others = {(0, 2): 20.0, (0, 1): 10.0, (0, 3): 30.0}
    said = LatencyPredictor(0.0, ((0.0,), (0.0, 11.0, 22.0, 33.0)), None, others).quality
    assert "of 3 other networks, which take 10.0 to 30.0 ms, by 10.0% on average" in said and "1.00 (tau)" in said
    # A training does not ask for it.
    cfg.SEARCH.CONSTRAINTS = ["detector_latency_ms <= 1e-9", "backbone_flops <= 30e6"]
    cfg.SEARCH.OBJECTIVES = ["detector_latency_ms", "backbone_params"]
    left = without_latency(cfg).SEARCH
    assert left.CONSTRAINTS == ["backbone_flops <= 30e6"] and left.OBJECTIVES == ["backbone_params"]


def test_missing_packages_and_a_network_of_more_than_boxes_are_one_sentence(cfg, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(traced, "can_import", lambda name: name != "onnxscript")
        with pytest.raises(ValueError, match="^detector_latency_ms needs onnxscript: pip install onnx onnxscript onnx"):
            DetectorMeter(cfg, TINY)
    cfg.MODEL.MASK_ON = True
    with pytest.raises(ValueError, match="detector as one ONNX file: MODEL.MASK_ON: the network gives more than boxes"):
        DetectorMeter(cfg, TINY)
