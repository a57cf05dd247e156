import json

import pytest
import torch
from fuzzing import CONTENTS

import detnas
from detnas.cost.latency import REPEATS, WARMUP, LatencyMeter, MeasuredTimes

SPACE = detnas.get_space("tiny")
PATH = SPACE.parse("01-23-01-23")


def meter(**kwargs):
    return LatencyMeter(SPACE, (64, 64), **kwargs)


def test_it_times_passes_of_images_of_its_size():
    class Network(torch.nn.Module):
        def forward(self, images):
            sizes.append(tuple(images.shape))

    sizes = []
    assert LatencyMeter(SPACE, (48, 64), batch=2, network=lambda path: Network()).cost("backbone_latency_ms", PATH) > 0
    assert sizes == [(2, 3, 48, 64)] * (WARMUP + REPEATS)


def test_other_settings_are_measured_anew_and_kept_beside_the_others_and_a_damaged_cache_is_named(tmp_path):
    cache = tmp_path / "latency.json"
    meter(cache=str(cache)).cost("backbone_latency_ms", PATH)
    meter(cache=str(cache), batch=2).cost("backbone_latency_ms", PATH)
    assert len(json.loads(cache.read_text())) == 2
    for content in (b"{", *(each for each in CONTENTS if each != b"{}\n")):
        cache.write_bytes(content)
        with pytest.raises(ValueError, match=f"{cache} is damaged, "):
            MeasuredTimes("a machine", str(cache))
    with pytest.raises(ValueError, match=f"{cache} is damaged, "):
        meter(cache=str(cache))
