"""tools/ground_truth.py, supernet_ranking.py and repeat_search.py: their books; what trains stands in other tests."""

import concurrent.futures
import json
import sys
import time

import pytest
from scripts import ROOT, script

sys.path.insert(0, str(ROOT / "tools"))
truth, ranking = script("tools", "ground_truth"), script("tools", "supernet_ranking")
repeated = script("tools", "repeat_search")
MORE = ("--jobs", "1", "--variant", "SUPERNET.PATH_SAMPLING fair")
CONFIG = str(ROOT / "configs" / "demo" / "outlines_alone.yaml")


def run(table, *words, train):
    arguments = ["--config-file", CONFIG, "--table", str(table), "--jobs", "1", "--networks", "6", *words]
    return truth.main(truth.parser().parse_args(arguments), train, concurrent.futures.ThreadPoolExecutor)


def figure(config_file, metric, arch, seed):
    return int(arch, 5) / 10 + int(seed)


def test_the_table_holds_plain_networks_and_random_ones_within_the_limits(tmp_path):
    file = tmp_path / "table.json"
    run(file, train=figure)
    networks = json.loads(file.read_text())["networks"]
    assert [n["arch"] for n in networks[:4]] == ["0000", "1111", "3333", "4444"]
    assert len({n["arch"] for n in networks}) == 6 and all(n["backbone_flops"] <= 22e6 for n in networks)
    assert all(n["scores"] == {s: figure("", "", n["arch"], s) for s in ("0", "1")} for n in networks)


def test_a_table_that_was_interrupted_is_completed(tmp_path):
    file, trained = tmp_path / "table.json", []

    def dies(config_file, metric, arch, seed):
        if seed == 1:
            # Results that are there at once are taken in any order; one of them is to be written before.
            while not file.exists():
                time.sleep(0.01)
            raise RuntimeError("killed")
        return figure(config_file, metric, arch, seed)

    with pytest.raises(RuntimeError):
        run(file, train=dies)
    known = {(n["arch"], int(s)) for n in json.loads(file.read_text())["networks"] for s in n["scores"]}
    run(file, train=lambda *job: trained.append(job[2:]) or figure(*job))
    assert len(trained) + len(known) == 12 and not known & set(trained)
    run(tmp_path / "whole.json", train=figure)
    whole = json.loads((tmp_path / "whole.json").read_text())
    assert json.loads(file.read_text()) == whole


def test_training_again_tells_whether_the_figures_are_the_same(tmp_path):
    file = tmp_path / "table.json"
    run(file, train=figure)
    assert run(file, "--again", "3", train=figure) is True
    assert run(file, "--again", "3", train=lambda *job: figure(*job) + 0.001) is False


def test_a_table_of_another_recipe_is_refused(tmp_path):
    run(tmp_path / "table.json", train=figure)
    # Of the script itself, not imported as here, it is one sentence.
    with pytest.raises((SystemExit, ValueError), match="made by another recipe"):
        run(tmp_path / "table.json", "--data", "other", train=figure)


def test_a_perfect_fitness_agrees_no_better_than_the_trainings_do():
    def networks(noise):
        return [{"scores": {"0": k + noise * (-1) ** k, "1": k - noise * (-1) ** k}} for k in range(40)]

    exact, noisy = (ranking.ceiling(networks(noise), draws=200)[0] for noise in (0.01, 8))
    assert exact > 0.99 > 0.8 > noisy > 0.3


def test_the_ranking_of_each_supernet_is_compared_with_the_table(tmp_path, capsys):
    run(tmp_path / "table.json", train=figure)
    capsys.readouterr()

    def judge(config_file, variant, length, seed, search, archs, folder):
        sign = 1 if length > 400 else -1
        fitness = {arch: length / 1000 + figure("", "", arch, 0) * sign for arch in archs}
        return {"fitness": fitness, "agreement": 0.7 if length > 400 else 0.5}

    files = {"--table": "table.json", "--results": "all.json", "--output": "supernets"}
    words = [word for flag, name in files.items() for word in (flag, str(tmp_path / name))]
    args = ranking.parser().parse_args([*words, "--lengths", "400", "800", "1600", "--seeds", "0", *MORE])
    ranking.main(args, judge, concurrent.futures.ThreadPoolExecutor)
    shown = capsys.readouterr().out
    first, *_ = shown.split("\n\n")
    rows = [[cell.strip() for cell in line.split("|")] for line in first.splitlines()]
    taus = [(row[3], row[7].split()[0]) for row in rows[2:]]
    assert taus == [("400", "-1.00"), ("800", "1.00"), ("1600", "1.00")]
    assert "1 with an agreement below 0.6 (mean tau -1.00) and 2 with an agreement of at least 0.6 (mean tau 1" in shown
    # What is known is not trained again.
    ranking.main(args, None, concurrent.futures.ThreadPoolExecutor)


def test_the_winners_of_several_seeds_are_compared_with_networks_that_need_no_search(tmp_path, capsys):
    run(tmp_path / "table.json", train=figure)
    capsys.readouterr()
    trained = []

    def search(config_file, alone, seed, folder):
        score = {"score": 50.0, "on fresh images": 47.5, "first generation": 40.0}
        return {"winner": ["4441", "0001"][seed], "random": "0111", "candidates": 4, **score}

    def train(config_file, metric, arch, seed):
        trained.append((arch, seed))
        return {"4441": 1000.0, "0001": -1.0, "0111": 2.0}[arch]

    files = {"--table": "table.json", "--results": "searches.json", "--output": "searches"}
    words = [word for flag, name in files.items() for word in (flag, str(tmp_path / name))]
    words += ["--config-file", CONFIG]
    args = repeated.parser().parse_args([*words, "--seeds", "2", "--jobs", "1", "--count", "2"])
    repeated.main(args, search, train, concurrent.futures.ThreadPoolExecutor)
    assert sorted(trained) == [(arch, seed) for arch in ("0001", "0111", "4441") for seed in ("0", "1")]
    shown = capsys.readouterr().out
    assert "beats 0000 in 1 of 2; 0000 and a random network in 1; 0000 and the best of 2 networks of the table" in shown
    assert "A winner's score is 2.5 higher than its AP on fresh images" in shown
    # What is known is not run again.
    repeated.main(args, None, None, concurrent.futures.ThreadPoolExecutor)
    assert capsys.readouterr().out == shown
