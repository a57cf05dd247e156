import json

import pytest

import detnas
from detnas.cost.latency import LatencyMeter

SPACE = detnas.get_space("tiny")
PATH = SPACE.parse("01-23-01-23")


def meter(**kwargs):
    return LatencyMeter(SPACE, (64, 64), **kwargs)


def test_a_larger_image_takes_longer():
    assert 0 < meter().cost("latency_ms", PATH) < LatencyMeter(SPACE, (512, 512)).cost("latency_ms", PATH)


def test_other_settings_are_measured_anew_and_kept_beside_the_others(tmp_path):
    cache = tmp_path / "latency.json"
    meter(cache=str(cache)).cost("latency_ms", PATH)
    meter(cache=str(cache), batch=2).cost("latency_ms", PATH)
    assert len(json.loads(cache.read_text())) == 2


def test_a_damaged_cache_is_an_error_that_names_it(tmp_path):
    cache = tmp_path / "latency.json"
    cache.write_text("{")
    with pytest.raises(ValueError, match=f"latency cache {cache} is damaged"):
        meter(cache=str(cache))
