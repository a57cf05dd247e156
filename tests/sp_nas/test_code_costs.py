import pytest

from detnas.config.load import load_config
from detnas.cost.costs import all_costs
from spnas import SerialCode
from spnas.serial_search import SerialSearch

R50 = "111-2111-211111-211"


def limits_of(*opts):
    return SerialSearch.read(load_config("configs/SPNAS/Base-FPN.yaml", ["MODEL.DEVICE", "cpu", *opts]))[1]


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch, pytestconfig):
    monkeypatch.chdir(pytestconfig.rootpath)


def test_costs_are_those_of_the_network_and_of_its_detector():
    limits = limits_of("SEARCH.CONSTRAINTS", "('backbone_flops <= 5e9',)")
    costs = all_costs(limits.costs, SerialCode.parse(R50))
    assert (costs["backbone_params"], round(costs["backbone_flops"] / 1e9, 3)) == (23_508_032, 4.087)
    assert costs["detector_params"] > costs["backbone_params"] and costs["detector_flops"] > costs["backbone_flops"]
    deeper = all_costs(limits.costs, SerialCode.parse("111-2111-2111111-211"))
    bottleneck = 1024 * 256 * 2 + 9 * 256 * 256
    assert deeper["backbone_flops"] - costs["backbone_flops"] == bottleneck * 14 * 14
    assert deeper["detector_params"] - costs["detector_params"] == bottleneck + 2 * (256 + 256 + 1024)


def test_a_code_is_legal_within_all_limits():
    limits = limits_of("SEARCH.CONSTRAINTS", "('backbone_flops <= 4.2e9', 'backbone_params <= 24e6')")
    assert limits(SerialCode.parse(R50))
    assert not limits(SerialCode.parse("1111-2111-211111-211"))  # 4.3 G
    assert not limits(SerialCode.parse("111-2111-211111-2111"))  # 28 M


def test_a_latency_is_measured_once_and_kept_for_the_next_process_and_not_of_what_breaks_another_limit(tmp_path):
    small = ["MODEL.SPNAS.CODE", "1-2-1", "MODEL.SPNAS.BLOCK", "basic", "MODEL.SPNAS.BASE_WIDTH", "8"]
    opts = [*small, "SEARCH.LATENCY_RESOLUTION", "(32, 32)", "OUTPUT_DIR", str(tmp_path), "SEARCH.CONSTRAINTS"]
    codes = [SerialCode.parse(code) for code in ("1-2-1", "11-2-1")]
    first = limits_of(*opts, "('backbone_latency_ms <= 1e4', 'backbone_flops <= 100e6')")
    # The start network's alone.
    assert not first(SerialCode.parse(f"{'1' * 30}-2-1")) and list(first.costs.parts[1].times.known) == ["1-2-1"]
    times = [first.costs.cost("backbone_latency_ms", code) for code in codes]
    assert all(map(first, codes)) and min(times) > 0
    again = limits_of(*opts, "('backbone_latency_ms <= 1e4',)")
    assert [again.costs.cost("backbone_latency_ms", code) for code in codes] == times
    words = '"1-2-1", has .* ms backbone_latency_ms, which breaks the limit backbone_latency_ms <= 0.0 ms'
    with pytest.raises(ValueError, match=words):
        limits_of(*opts, "('backbone_latency_ms <= 1e-6',)")
