import json
import random
from pathlib import Path

import pytest

from detnas import CostTable, get_space
from detnas.config.load import load_config
from detnas.cost.costs import all_costs
from detnas.cost.detector import detector_costs
from detnas.search.settings import supernet_limits

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SPACE = get_space("300M")


def limits(folder, constraints, config="COCO/supernet_fpn_300M", *words):
    opts = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(folder), "SEARCH.CONSTRAINTS", repr(tuple(constraints)), *words]
    cfg = load_config(str(CONFIGS / f"{config}.yaml"), opts)
    return supernet_limits(cfg)


def random_paths(count, space=SPACE):
    rng = random.Random(0)
    return [space.random(rng) for _ in range(count)]


@pytest.mark.parametrize("config", ["COCO/supernet_fpn_300M", "COCO/supernet_retinanet_300M"])
def test_costs_of_a_detector_are_those_of_its_config_with_the_path(config, tmp_path):
    found = limits(tmp_path, [], config, "SEARCH.DETECTOR_RESOLUTION", "(250, 310)").costs
    for path in random_paths(2):
        words = ["MODEL.DEVICE", "cpu", "MODEL.DETNAS.ARCH", SPACE.format(path)]
        counted = detector_costs(load_config(str(CONFIGS / f"{config}.yaml"), words), (250, 310))
        costs = all_costs(found, path)
        assert costs["detector_flops"] == counted["whole"]["flops"]
        assert costs["detector_params"] == counted["whole"]["params"]
        assert costs["backbone_flops"] == CostTable.measure(SPACE).flops(path)


def test_a_path_is_legal_if_it_meets_every_one_of_several_limits(tmp_path):
    texts = ["270e6 <= backbone_flops <= 300e6", "backbone_params <= 2.2e6", "detector_flops <= 243.5e9"]
    both = limits(tmp_path, texts)
    alone = [limits(tmp_path, [text]) for text in texts]
    paths = random_paths(300)
    verdicts = [both(path) for path in paths]
    assert verdicts == [all(one(path) for one in alone) for path in paths]
    assert 0 < sum(verdicts) < 300


@pytest.mark.parametrize("constraints, words", [
    (["backbone_flops <= 200e6"], 'no network of "300M" has at most 200.0M backbone_flops; the smallest has 237.2'),
    (["backbone_params <= 1e5"], "at most 0.1M backbone_params; the smallest has"),
    (["detector_flops <= 1e9"], "at most 1000.0M detector_flops; the smallest has 2"),
    (["detector_params <= 1e6"], "at most 1.0M detector_params; the smallest has"),
    (["400e6 <= backbone_flops <= 500e6"], "at least 400.0M backbone_flops; the largest has 365.5M"),
    (
        ["backbone_flops <= 250e6", "340e6 <= backbone_flops <= 360e6"],
        "SEARCH.CONSTRAINTS together .200 were tried.*reachable one by one: backbone_flops 237.2M to 365.5M",
    ),
    (["energy <= 3"], 'unknown metric "energy"; there are: backbone_flops, .*, backbone_latency_ms'),
])
def test_limits_out_of_reach_are_an_error_with_the_values_there_are(tmp_path, monkeypatch, constraints, words):
    monkeypatch.setattr("detnas.cost.limits._CANDIDATES", 200)
    with pytest.raises(ValueError, match=words):
        limits(tmp_path, constraints)


def test_paths_near_the_smallest_are_found_by_repair(tmp_path):
    tight = limits(tmp_path, ["backbone_flops <= 239e6"])
    rng = random.Random(0)
    repaired = [tight.repair(path, rng) for path in random_paths(20)]
    assert not any(tight(path) for path in random_paths(200))
    assert sum(tight(path) for path in repaired) > 15


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Function: limits -> Limits of the tiny space, whose latency is quickly measured."""
    monkeypatch.setattr("detnas.cost.latency.WARMUP", 1)
    monkeypatch.setattr("detnas.cost.latency.REPEATS", 2)
    words = ["SEARCH.LATENCY_RESOLUTION", "(32, 32)", "MODEL.DETNAS.SPACE", "tiny"]
    return lambda *constraints: limits(tmp_path, constraints, "demo/toy_2_train_supernet", *words)


def test_a_latency_is_measured_once_and_kept_for_the_next_process(tiny, tmp_path):
    first = tiny("backbone_latency_ms <= 1e4")
    paths = random_paths(3, get_space("tiny"))
    times = [first.costs.cost("backbone_latency_ms", path) for path in paths]
    assert all(0 < ms < 1e4 for ms in times) and all(first(path) for path in paths)
    assert [tiny("backbone_latency_ms <= 1e4").costs.cost("backbone_latency_ms", path) for path in paths] == times
    (kept,) = json.loads((tmp_path / "latency.json").read_text()).values()
    assert {get_space("tiny").format(path) for path in paths} <= kept.keys()


def test_latency_is_measured_only_with_a_limit_and_of_paths_that_meet_the_other_ones(tiny):
    assert "backbone_latency_ms" not in tiny("backbone_flops <= 30e6").costs.metrics
    both = tiny("backbone_latency_ms <= 1e4", "backbone_flops <= 25e6")
    table, meter = both.costs.parts
    before = len(meter.times.known)
    dear = [p for p in random_paths(50, get_space("tiny")) if table.flops(p) > 25e6]
    assert dear and not any(both(path) for path in dear)
    assert len(meter.times.known) == before
    words = r"was found with backbone_latency_ms <= 0.0 ms: of 20 .* the fastest takes [\d.]+ ms"
    with pytest.raises(ValueError, match=words):
        tiny("backbone_latency_ms <= 1e-3")
