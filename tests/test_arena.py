"""tools/arena.py, on generated scores."""

import itertools
import json
import sys

import numpy as np
import pytest
from scripts import ROOT, script

from detnas.evaluation.matches import BoxMatches

sys.path.insert(0, str(ROOT / "tools"))
arena = script("tools", "arena")


def scores(path):
    """Held out and test; the former prefers a path that the latter does not."""
    return float(sum(path)), 50.0 if min(path) == 4 else float(sum(path)) + 1


def write_results(file, ops=5):
    paths = itertools.product(range(ops), repeat=4)
    kept = {"images": 10, "scores": {"".join(map(str, path)): scores(path) for path in paths}}
    file.write_text(json.dumps({"supernets": {"outlines": kept, "bccd": kept}}))


def run(folder, *words, **searchers):
    files = [word for flag, name in (("--results", "arena.json"), ("--picture", "arena.png"))
             for word in (flag, str(folder / name))]
    config, table = (str(ROOT / name) for name in (arena.CONFIG, "docs/ground_truth.json"))
    words = ["--config-file", config, "--table", table, *files, "--seeds", "2", *words]
    arena.main(arena.parser().parse_args(words), searchers or arena.SEARCHERS)
    return json.loads((folder / "arena.json").read_text())


def test_all_searchers_are_compared_with_evolution(tmp_path, capsys):
    write_results(tmp_path / "arena.json")
    found = run(tmp_path)
    assert list(found["searches"]) == ["outlines", "bccd", "outlines, 20M", "alone"]
    rows = found["searches"]["outlines"]
    assert rows["evolution"]["test"]["32"][2:] == [0, 0, 0]
    for key in ("held out", "test"):
        assert len({tuple(row[key]["16"]) for row in rows.values()}) == 1, "the first generation is the same"
    gain, low, high = rows["random"]["held out"]["128"][2:]
    assert low <= gain <= high <= 0
    shown = capsys.readouterr().out
    assert "outlines: 625 networks, 2 searches by each searcher" in shown and "alone: 60 networks" in shown
    assert (tmp_path / "arena.png").stat().st_size > 10_000


def test_figures_of_a_searcher_that_is_gone_stay_as_long_as_all_else_is_the_same(tmp_path):
    write_results(tmp_path / "arena.json", ops=2)
    usual = {"random": arena.random_search, "evolution": arena.evolution}
    before = run(tmp_path, **usual, gone=arena.random_search)["searches"]["bccd"]
    assert before["gone"] == before["random"]
    assert run(tmp_path, **usual)["searches"]["bccd"] == before
    assert "gone" not in run(tmp_path, "--seeds", "3", **usual)["searches"]["bccd"]


SPACE = arena.config_space(arena.load_config(str(ROOT / arena.CONFIG)))
#: the five paths of a single op
FIVE = {path: scores(path) for path in itertools.product(range(5), repeat=4) if len(set(path)) == 1}


def test_a_replay_takes_the_test_score_of_the_best_by_held_out_images():
    small = arena.Arena(SPACE, FIVE, images=7, population=4, parents=2, generations=2)
    curves = arena.replay(small, arena.random_search(small, 0))
    # Five paths, and then there are no more.
    assert curves["held out"].tolist() == [0, 4, 8, 12, 16, 16, 16, 16]
    assert curves["test"].tolist() == [1, 5, 9, 13, 50, 50, 50, 50]
    assert curves["winner"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_race_comes_further_with_the_same_images_and_what_it_stops_is_never_the_best():
    class Known:
        images = 10
        looks = {"0000": 0, "1111": 2, "2222": 1, "3333": 0, "4444": 3}
        looks = {arch: [[{"images": 2, "score": look, "samples": [0] * 100}]] * 4 for arch, look in looks.items()}
        scores = {SPACE.format(path): pair for path, pair in FIVE.items()}

    small = arena.Arena(SPACE, FIVE, 12, population=5, parents=1, generations=1, kept=Known, recalibration=2)
    assert arena.replay(small, arena.random_search(small, 0))["held out"].tolist() == [0, 4, 8, 12, 16]
    curves = arena.replay(small, arena.random_search(small, 0), arena.Race((0.2,), 0.5, 0, 1))
    # 2222 and 3333 stop after 4 images each, so that the last one ends with 44 and not with 60.
    assert curves["held out"].tolist() == [0, 4, 4, 16, 16]


def test_an_interval_holds_the_mean():
    low, high = arena.interval(np.arange(100.0))
    assert 40 < low < 49.5 < high < 59


def test_the_scores_of_a_supernet_are_read_from_what_its_paths_detect(tmp_path):
    right = np.ones((2, 10), bool)
    matches = BoxMatches(np.ones((3, 1), np.int32), np.arange(2, dtype=np.int32), np.zeros(2, np.int32),
                         np.array([0.9, 0.8]), right, right)
    fields = {f"{name}_{key}": value for name in ("held_out", "test") for key, value in vars(matches).items()}
    (tmp_path / "bccd").mkdir()
    np.savez(tmp_path / "bccd" / "0123.npz", **fields)
    kept = arena.scores_of(arena.Kept(str(tmp_path / "bccd"), (0.4,)), "bccd")
    assert kept["images"] == 103 and list(kept["scores"]) == ["0123"]
    # Two of three objects, all of them right: precision 1 up to a recall of 0.66.
    assert kept["scores"]["0123"] == pytest.approx([100 * 67 / 101] * 2, abs=1e-3)


def test_scores_that_are_not_there_are_one_sentence_that_says_what_makes_them(tmp_path):
    with pytest.raises((SystemExit, ValueError), match="keep_matches.py"):
        run(tmp_path)
    with pytest.raises((SystemExit, ValueError), match="outlines has no paths; tools/keep_matches.py makes"):
        run(tmp_path, "--matches", str(tmp_path))
