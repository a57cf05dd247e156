import json

import pytest

import detnas
from detnas.cost.latency import LatencyMeter

SPACE = detnas.get_space("tiny")
PATH = SPACE.parse("01-23-01-23")


def meter(**kwargs):
    return LatencyMeter(SPACE, (64, 64), repeats=3, warmup=1, **kwargs)


def test_a_larger_image_takes_longer():
    assert 0 < meter()(PATH) < LatencyMeter(SPACE, (512, 512), repeats=3, warmup=1)(PATH)


def test_other_settings_are_measured_anew_and_kept_beside_the_others_and_a_damaged_cache_is_named(tmp_path):
    cache = tmp_path / "latency.json"
    meter(cache=str(cache))(PATH)
    meter(cache=str(cache), batch=2)(PATH)
    assert len(json.loads(cache.read_text())) == 2
    cache.write_text("{")
    with pytest.raises(ValueError, match=f"latency cache {cache} is damaged"):
        meter(cache=str(cache))
