"""The benchmarks run, on next to nothing; what they measure is not tested."""

import argparse
import json
import random
import sys
import types

import pytest
import torch
from ray_fakes import run_all
from scripts import ROOT
from toy_runs import DEMO, SHORT, SMALL_SEARCH, command, detection

import detnas
from detnas.export.traced import module_to_onnx
from detnas.modeling.choices import activate

sys.path.insert(0, str(ROOT / "benchmarks"))

import candidate  # noqa: E402
import detector_latency  # noqa: E402
import metric  # noqa: E402
import passes  # noqa: E402
import scale  # noqa: E402
import step  # noqa: E402
import tables  # noqa: E402

SUPERNET = str(DEMO / "toy_2_train_supernet.yaml")


def test_functions_are_timed_in_turns_after_a_warm_up():
    calls = []
    seconds = tables.in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, 3)
    assert calls == list("ab" * 4) and seconds.keys() == {"a", "b"}


def test_plain_blocks_compute_what_ours_do():
    ours, _, space = step.build()
    plain, _, _ = step.build(plain_blocks=True)
    batch = step.batch_of(2, 64, 64)
    for number in range(3):
        path = detnas.get_space("300M").random(random.Random(number))
        losses = []
        for model in (ours, plain):
            activate(model, detnas.get_space("300M"), path)
            torch.manual_seed(0)
            model.zero_grad()
            losses.append(sum(model(batch).values()))
            losses[-1].backward()
        assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-5)
        for a, b in zip(*(model.parameters() for model in (ours, plain))):
            assert (a.grad is None) == (b.grad is None)
            if a.grad is not None:
                torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4)


@pytest.fixture
def settings(toy_root, tmp_path, monkeypatch):
    """Of a small supernet with random weights; the benchmark of a candidate has them too."""
    settings = {**SMALL_SEARCH, **detection(toy_root), "OUTPUT_DIR": tmp_path, "MODEL.ROI_HEADS.NUM_CLASSES": 4}
    monkeypatch.setattr(candidate, "DATA", [str(word) for pair in {**SHORT, **settings}.items() for word in pair])
    return {**settings, "MODEL.WEIGHTS": candidate.supernet(SUPERNET, str(tmp_path))[0]}


def test_a_candidate_is_compared_with_the_reference(settings, tmp_path, monkeypatch, capsys):
    def run_here(command, **_):
        candidate.process(*command[-3:])
        return types.SimpleNamespace(stdout=capsys.readouterr().out)

    monkeypatch.setattr(candidate, "subprocess", types.SimpleNamespace(run=run_here, PIPE=None))
    text = candidate.compare("toy", SUPERNET, argparse.Namespace(paths=1, images=4), str(tmp_path))
    assert "toy, 4 + 4 images, random weights" in text and "| AP of the paths " in text


@pytest.mark.parametrize("modules, rows", [(False, ("plain passes", "both")), (True, ("box head", "whole"))])
def test_passes_are_compared_on_all_images_in_a_race_too(settings, capsys, modules, rows):
    args = command(SUPERNET, {**settings, "SEARCH.RACING": True})
    passes.main(argparse.Namespace(**vars(args), modules=modules, paths=1, rounds=1))
    shown = capsys.readouterr().out
    assert all(f"| {row} " in shown for row in rows) and ("64x64, 4 images" in shown) == modules


def test_the_metrics_figures_are_compared(capsys):
    metric.main(argparse.Namespace(images=[20], rounds=1))
    assert "\n| 20 " in capsys.readouterr().out


@pytest.mark.parametrize("workers", [1, 7])
def test_simulated_workers_are_busy_as_long_as_there_is_work(workers):
    executor = scale.Simulated(workers, seconds=50, spread=3, failures=0.2)
    paths = [(i % 4, i // 4 % 4, i // 16) for i in range(60)]
    found = run_all(executor, paths)
    assert sorted(c.network for c in found) == sorted(paths)
    assert any(c.error for c in found) and any(c.score for c in found)
    lengths = [end - begin for begin, end in executor.evaluations]
    assert 25 <= min(lengths) < 35 and 65 < max(lengths) <= 75
    steady, whole = executor.idle()
    assert steady < 0.001 and (workers == 1 or whole > steady)
    # Never more at once than there are workers.
    for begin, _ in executor.evaluations:
        assert sum(b <= begin < e for b, e in executor.evaluations) <= workers


def test_a_simulated_search_runs_in_both_ways(toy_config):
    cfg = toy_config("toy_2_train_supernet")
    for asynchronous in (False, True):
        assert scale.search(cfg, scale.supernet_limits(cfg), scale.Simulated(4), 20, asynchronous, 10) == 20


def test_a_full_step_trains_one_path_after_the_other():
    config = DEMO / "toy_1_pretrain_supernet.yaml"
    seconds, _, first = step.measure(str(config), step.batch_of(4, 32, 32), False, torch.channels_last, 2, "cpu")
    assert 0 < seconds < 60 and first > 0


def test_first_runs_of_detectors_are_compared_with_others(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    # Later tests fork, which OpenVINO does not survive.
    monkeypatch.setattr(detector_latency, "installed_engines", lambda: ["onnxruntime"])
    (tmp_path / "detector.json").write_text(json.dumps({"shorter_side": 16, "longer_side": 24}))
    (tmp_path / "detector.onnx").write_bytes(module_to_onnx(torch.nn.Conv2d(3, 2, 3), torch.rand(3, 16, 24)))
    header, _, row = detector_latency.first_and_others([f"{tmp_path}/"], rounds=1).splitlines()
    assert "onnxruntime" in header and tmp_path.name in row and row.count(",") == 1
