"""The tools that show what racing saves and what recalibration needs, on an untrained supernet of sixteen paths."""

import sys

import pytest
import torch
from detectron2.modeling import build_model
from scripts import ROOT
from toy_runs import command, detection, own_loggers, toy_setup

sys.path.insert(0, str(ROOT / "tools"))

import keep_matches  # noqa: E402
import racing_study  # noqa: E402
import recalibration_curve  # noqa: E402

OWN = {
    "MODEL.DETNAS.SPACE": "own",
    "MODEL.DETNAS.OWN_SPACE.STEM_CHANNELS": 4,
    "MODEL.DETNAS.OWN_SPACE.STAGE_CHANNELS": "(8, 16, 24, 32)",
    "MODEL.DETNAS.OWN_SPACE.STAGE_DEPTHS": "(1, 1, 1, 1)",
    "MODEL.DETNAS.OWN_SPACE.OPS": "('shufflenet_3x3', 'shufflenet_5x5')",
    "SEARCH.CONSTRAINTS": "('backbone_flops <= 1e9',)",
    "SEARCH.RECALIBRATION_IMAGES": 4,
    "SEARCH.METRIC": "bbox/AP",
    "SEARCH.POPULATION": 4,
    "SEARCH.NUM_PARENTS": 2,
    "SEARCH.NUM_MUTATE": 2,
    "SEARCH.NUM_CROSS": 2,
    "SEARCH.GENERATIONS": 3,
    "SEARCH.RACING_PARTS": "(0.4, 0.7)",
}


@pytest.fixture
def overrides(toy_root, tmp_path):
    found = {**detection(toy_root), **OWN, "OUTPUT_DIR": tmp_path}
    torch.manual_seed(0)
    torch.save({"model": build_model(toy_setup("toy_2_train_supernet", found)).state_dict()}, tmp_path / "weights.pth")
    return {**found, "MODEL.WEIGHTS": tmp_path / "weights.pth"}


def run(tool, overrides, *flags):
    with own_loggers():
        return tool.main(command("toy_2_train_supernet", overrides, *flags, parser=tool.parser()))


def test_searches_are_replayed_on_what_was_kept(toy_root, tmp_path, overrides, capsys):
    kept, test = tmp_path / "kept", detection(toy_root, "train")["DATASETS.TEST"][2:-3]
    run(keep_matches, overrides, "--output", str(kept), "--test", test)
    files = sorted(kept.glob("*.npz"))
    assert len(files) == 16
    written = [file.stat().st_mtime_ns for file in files]
    run(keep_matches, overrides, "--output", str(kept), "--test", test)
    assert [file.stat().st_mtime_ns for file in files] == written
    held_out, tested = (keep_matches.read(files[0], name) for name in ("held_out", "test"))
    assert len(held_out.objects) < len(tested.objects)
    rows = run(racing_study, overrides, "--rules", "1,100", "1,0.1", "0.5,0", "--seeds", "3", "--kept", str(kept))
    assert [(row["share"], row["sigmas"]) for row in rows] == [(1, 100), (1, 0.1), (0.5, 0)]
    assert (rows[0]["same best"], rows[0]["loss, mean"], rows[0]["images"]) == ("100.0%", 0, "1.000")
    assert all(0.3 < float(row["images"]) <= 1 for row in rows)


def test_the_recalibration_curve_has_a_row_for_each_number_of_images(overrides, capsys):
    rows = run(recalibration_curve, overrides, "--images", "2", "4", "--paths", "3")
    assert [row["images"] for row in rows] == [2, 4]
    again = run(recalibration_curve, overrides, "--images", "2", "4", "--paths", "3")
    assert str(again) == str(rows)


def test_a_space_too_large_to_keep_is_one_sentence(overrides, refused):
    overrides["MODEL.DETNAS.OWN_SPACE.STAGE_DEPTHS"] = "(4, 4, 8, 4)"
    assert "has 1048576 paths, too many" in refused(run, keep_matches, overrides, "--output", "kept")
