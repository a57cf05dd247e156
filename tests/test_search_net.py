"""The command line of the search, on an untrained supernet of the generated data."""

import argparse
import csv
import json
import re
import shutil

import pytest
import torch
import yaml
from detectron2.modeling import build_model
from export_runs import predict
from toy_runs import SMALL_SEARCH, classification, command, detection, dotted, measure_little, own_loggers, toy_setup

import search_net
import train_net
from detnas import CostTable, get_space
from detnas.export import detector_latency, latency_predictor
from detnas.search import paths
from detnas.search.evolution import Searcher
from detnas.search.log import SearchLog
from detnas.search.pareto import front_of
from detnas.search.surrogate import SurrogateSearcher

TINY = get_space("tiny")
SMALL = {**SMALL_SEARCH, "SEARCH.GENERATIONS": 2, "SEARCH.METRIC": "bbox/AP50"}
FLOPS = {"SEARCH__OBJECTIVES": '["backbone_flops"]'}


def run(folder, data, *flags, config="toy_2_train_supernet", **overrides):
    overrides = {**data, **SMALL, "OUTPUT_DIR": folder, **dotted(overrides)}
    args = command(config, overrides, *flags, parser=search_net.parser())
    with own_loggers():
        return search_net.main(args)


@pytest.fixture(scope="module")
def searched(toy_root, tmp_path_factory):
    """Folder of a finished search."""
    folder = tmp_path_factory.mktemp("search") / "run"
    run(folder, detection(toy_root), "--random-weights", **FLOPS)
    return folder


def test_the_log_has_everything_about_the_search_and_its_candidates(searched):
    header, *lines = map(json.loads, (searched / "search.jsonl").read_text().splitlines())
    assert header["metric"] == "bbox/AP50" and header["weights_sha256"] == "random weights" and header["seed"] == 0
    assert header["objectives"] == ["backbone_flops"] and set(header["versions"]) == {"python", "torch", "detectron2"}
    assert len(lines) == 8
    costs = {"backbone_flops", "backbone_params", "detector_flops", "detector_params"}
    assert all(set(line["costs"]) == costs and line["worker"] == "here" and line["tries"] == 1 for line in lines)
    assert [len(line["parents"]) for line in lines] == [0, 0, 0, 0, 1, 1, 2, 0]


def test_a_search_leaves_best_front_picture_and_scalars(searched):
    assert yaml.safe_load((searched / "best.yaml").read_text())["MODEL"]["DETNAS"]["SPACE"] == "tiny"
    assert (searched / "front.csv").read_text().startswith("arch,name,generation,score,backbone_flops")
    assert (searched / "search.png").is_file() and list(searched.glob("events.out.tfevents*"))
    assert not (searched / "front").exists()


def written(folder):
    """When best.pth was written, and which path its weights are of."""
    saved = torch.load(folder / "best.pth", weights_only=True)
    assert saved["found"]["arch"] == yaml.safe_load((folder / "best.yaml").read_text())["MODEL"]["DETNAS"]["ARCH"]
    return (folder / "best.pth").stat().st_mtime_ns, saved["found"]["arch"]


def test_a_winner_that_cannot_be_written_is_one_sentence_and_the_next_start_leaves_it_and_says_where(
    toy_root, tmp_path, capsys, refused
):
    (tmp_path / "best.pth.partial").mkdir()
    sentence = refused(run, tmp_path, detection(toy_root), "--random-weights", SEARCH__GENERATIONS=1)
    assert re.search(r"best\.pth cannot be written: .*the log is whole: start", sentence)
    assert len(SearchLog(str(tmp_path), TINY)) == 4 and (tmp_path / "search.png").is_file()
    (tmp_path / "best.pth.partial").rmdir()
    log = run(tmp_path, detection(toy_root), "--random-weights", SEARCH__GENERATIONS=1)
    arch = TINY.format(log.best()[0].network)
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert written(tmp_path)[1] == arch and arch in lines[0] and f"{log.best()[0].score:.2f}" in lines[0]
    assert all(str(tmp_path / name) in lines[1] for name in ("best.yaml", "best.pth", "search.png"))
    assert f"demo/predict.py --config-file {tmp_path}/best.yaml" in lines[2]
    assert f"MODEL.DETNAS.ARCH {tmp_path}/best.yaml MODEL.WEIGHTS {tmp_path}/best.pth" in lines[3]
    assert "untrained" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    "generations, change", [(2, "none"), (2, "missing"), (2, "broken"), (2, "another"), (5, "none")]
)
def test_a_search_started_again_leaves_the_network_of_its_winner(searched, toy_root, tmp_path, generations, change):
    folder = shutil.copytree(searched, tmp_path / "run")
    before = written(folder)
    file = folder / "best.pth"
    if change == "another":
        saved = torch.load(file, weights_only=True)
        torch.save({**saved, "found": {**saved["found"], "arch": "00-00-00-00"}}, file)
    elif change != "none":
        file.unlink() if change == "missing" else file.write_bytes(b"PK")
    log = run(folder, detection(toy_root), "--random-weights", **FLOPS, SEARCH__GENERATIONS=generations)
    assert len(log) == 4 * generations and written(folder)[1] == TINY.format(log.best()[0].network)
    same = change == "none" and log.best()[0].network == SearchLog(str(searched), TINY).best()[0].network
    assert (written(folder) == before) == same
    # A finished search is not searched again.
    logs = [(folder / "search.jsonl").read_bytes() for folder in (searched, folder)]
    assert (logs[0] == logs[1]) == (generations == 2)


def test_a_supernet_whose_ranking_still_changed_is_searched_with_a_warning(toy_root, tmp_path):
    weights = tmp_path / "supernet" / "model_final.pth"
    weights.parent.mkdir()
    torch.save({"model": build_model(toy_setup("toy_2_train_supernet", detection(toy_root))).state_dict()}, weights)
    line = {"iteration": 499, "supernet/mean": 1.0, "supernet/agreement": 0.31, "all_3x3/bbox/AP": 1.0}
    (weights.parent / "metrics.json").write_text(json.dumps(line) + "\n")
    overrides = {"MODEL__WEIGHTS": weights, "SEARCH__GENERATIONS": 1}
    assert len(run(tmp_path, detection(toy_root), **overrides)) == 4
    assert "ranking of 1 fixed paths agreed by 0.31 (tau)" in (tmp_path / "log.txt").read_text()
    (tmp_path / "log.txt").unlink()
    for flags in (["--best", "2"], ["--eval-only"]):
        run(tmp_path, detection(toy_root), *flags, **overrides)
    log = tmp_path / "log.txt"
    assert not log.exists() or "supernet's ranking" not in log.read_text()


def test_a_search_begins_with_the_networks_of_a_single_op_within_the_limits(searched, toy_root, tmp_path, capsys):
    legal = {"all 3x3": "00-00-00-00", "all 5x5": "11-11-11-11", "all Xception 3x3": "33-33-33-33"}
    header, *lines = map(json.loads, (searched / "search.jsonl").read_text().splitlines())
    assert header["initial"].items() <= {**legal, "all 7x7": "22-22-22-22"}.items() and len(header["initial"]) > 1
    assert [line["network"] for line in lines[: len(header["initial"])]] == list(header["initial"].values())
    run(searched, {}, "--best", "3")
    assert re.search(r"^To beat: all .* \d+\.\d\d, all ", capsys.readouterr().out, re.M)


def prepared(toy_root, folder, **overrides):
    """(header, searcher) of a search, which is not run."""
    overrides = {**detection(toy_root), **SMALL, "OUTPUT_DIR": folder, **dotted(overrides)}
    cfg = toy_setup("toy_2_train_supernet", overrides)
    method = paths.PathSearch(cfg, argparse.Namespace(random_weights=True))
    return method.header(), method.searcher


def test_an_initial_network_that_breaks_a_limit_is_left_out_with_a_line(toy_root, tmp_path):
    archs = "['00-00-00-01', 'uniform_ops', '22-22-22-22', '0000-0000']"
    flops = CostTable.measure(TINY).flops
    assert flops((0,) * 8) < flops((0,) * 7 + (1,)) < flops((3,) * 8)
    limit = f"['backbone_flops <= {flops((0,) * 7 + (1,))}']"
    header, searcher = prepared(toy_root, tmp_path, SEARCH__INITIAL=archs, SEARCH__CONSTRAINTS=limit)
    assert header["initial"] == {"00-00-00-01": "00-00-00-01", "all 3x3": "00-00-00-00"}
    assert searcher.initial == ((0, 0, 0, 0, 0, 0, 0, 1), (0,) * 8)
    said = (tmp_path / "log.txt").read_text()
    assert "not within the limits, and left out: all 5x5, all 7x7, all Xception 3x3" in said
    header, searcher = prepared(toy_root, tmp_path, SEARCH__CONSTRAINTS="[]", SEARCH__POPULATION=3)
    assert list(header["initial"]) == ["all 3x3", "all 5x5", "all 7x7"]
    assert "no place among SEARCH.POPULATION 3, and left out: all Xception 3x3" in (tmp_path / "log.txt").read_text()
    header, searcher = prepared(toy_root, tmp_path, SEARCH__INITIAL="[]")
    assert header["initial"] == {} and searcher.initial == ()


def test_a_search_with_another_searcher_says_so_in_its_header(toy_root, tmp_path):
    header, searcher = prepared(toy_root, tmp_path)
    assert header["searcher"] == "evolution" and type(searcher) is Searcher
    header, searcher = prepared(toy_root, tmp_path, SEARCH__SEARCHER="surrogate")
    assert header["searcher"] == "surrogate" and type(searcher) is SurrogateSearcher
    with pytest.raises(ValueError, match="SEARCHER \"surrogate\" goes by the score alone; SEARCH.OBJECTIVES"):
        prepared(toy_root, tmp_path, SEARCH__SEARCHER="surrogate", SEARCH__OBJECTIVES="['backbone_params']")


@pytest.mark.parametrize("flags, rows", [(["--list"], 8), (["--best", "3"], 3)])
def test_tables_need_neither_weights_nor_data(searched, capsys, tmp_path, flags, rows):
    data = {"DATASETS.TRAIN": "('coco:gone.json:gone',)", "DATASETS.TEST": "('coco:gone.json:gone',)"}
    run(searched, data, *flags, "--csv", str(tmp_path / "new" / "out.csv"))
    lines = capsys.readouterr().out.strip().split("\n\nTo beat: ")[0].splitlines()
    assert "bbox/AP50" in lines[0] and len(lines) == rows + 2
    # Millions also where that is a fraction: this space has networks of 53,200 to 79,440 parameters.
    columns = re.split(r"\s{2,}", lines[0].strip())
    # From the right: a name has spaces, or is empty.
    column = columns.index("backbone_params (M)") - len(columns)
    assert all(0.05 <= float(line.split()[column]) <= 0.08 for line in lines[2:])
    with open(tmp_path / "new" / "out.csv") as f:
        table = list(csv.DictReader(f))
    log = SearchLog(str(searched), TINY)
    chosen = log.history() if rows == 8 else log.best(3)
    assert [row["arch"] for row in table] == [TINY.format(c.network) for c in chosen]
    assert [float(row["backbone_flops"]) for row in table] == [c.costs["backbone_flops"] for c in chosen]
    assert [float(row["bbox/AP50"]) for row in table] == pytest.approx([c.score for c in chosen])


def test_the_front_of_its_objectives_is_left_by_a_search_and_printed(searched, tmp_path, capsys, refused):
    folder = shutil.copytree(searched, tmp_path / "run")
    run(folder, {}, "--front", SEARCH__OBJECTIVES='["backbone_params"]')
    assert (folder / "front.csv").read_text() != (searched / "front.csv").read_text()
    run(folder, {}, "--front", **FLOPS)
    assert (folder / "front.csv").read_text() == (searched / "front.csv").read_text()
    assert "Pareto front of bbox/AP50 and backbone_flops" in capsys.readouterr().out
    run(folder, {}, "--front", SEARCH__OBJECTIVES="('backbone_params',)")
    assert "Pareto front of bbox/AP50 and backbone_params" in capsys.readouterr().out
    for wrong in ("3", "backbone_flops"):
        said = refused(run, folder, {}, "--front", SEARCH__OBJECTIVES=wrong)
        assert said == f"SEARCH.OBJECTIVES {wrong} is no list of costs"
    with open(searched / "front.csv") as f:
        front = [(float(row["score"]), float(row["backbone_flops"])) for row in csv.DictReader(f)]
    everything = [(c.score, c.costs["backbone_flops"]) for c in SearchLog(str(searched), TINY).history()]
    expected = [p for p in everything if not any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in everything)]
    assert sorted(front) == sorted(expected)


def test_a_best_yaml_and_an_arch_are_evaluated_to_the_logged_metrics(searched, toy_root, tmp_path):
    best = SearchLog(str(searched), TINY).best()[0]
    for number, arch in enumerate((str(searched / "best.yaml"), TINY.format(best.network))):
        folder = tmp_path / str(number)
        metrics = run(folder, detection(toy_root), "--random-weights", "--eval-only", "--arch", arch)
        assert metrics == best.metrics
        assert json.loads((folder / "evaluation.json").read_text())["network"] == TINY.format(best.network)


def test_a_race_of_classifiers_by_their_top_1_stops_candidates_says_so_and_goes_on(toy_root, tmp_path, capsys):
    data = {**classification(toy_root), "SEARCH.CONSTRAINTS": "('backbone_params <= 1e6',)"}
    settings = {"config": "toy_1_pretrain_supernet", "SEARCH__METRIC": "classification/top1", "SEARCH__RACING": True,
                "SEARCH__RACING_PARTS": "(0.2, 0.5)"}
    run(tmp_path, data, "--random-weights", SEARCH__GENERATIONS=1, **settings)
    log = run(tmp_path, data, "--random-weights", SEARCH__GENERATIONS=4, **settings)
    stopped = [c for c in log.history() if c.stopped]
    assert len(log) == 16 and stopped and not log.failures and written(tmp_path)
    whole = [c for c in log.history() if not c.stopped]
    assert all(c.score == c.metrics["classification/top1"] <= c.metrics["classification/top5"] for c in whole)
    text = (tmp_path / "log.txt").read_text()
    assert f"stopped at {stopped[0].stopped['score']:.2f} after {stopped[0].stopped['images']} images" in text
    assert "failed" not in text and log.header["racing_parts"] == [0.2, 0.5]
    # The winner was evaluated to the end, as without a race.
    run(tmp_path, data, "--random-weights", "--eval-only", **settings)
    metrics = json.loads((tmp_path / "evaluation.json").read_text())["metrics"]
    assert metrics == log.best()[0].metrics
    capsys.readouterr()
    run(tmp_path, data, "--list", "--csv", str(tmp_path / "all.csv"), "--report", **settings)
    assert "stopped" in capsys.readouterr().out
    rows = list(csv.DictReader(open(tmp_path / "all.csv")))
    assert [row["score"] == "" for row in rows] == [c.stopped is not None for c in log.history()]
    assert all(row["images 1"] and row["score 1"] for row in rows)
    assert f"stopped by the race: {len(stopped)}" in (tmp_path / "report.html").read_text()


def test_an_asynchronous_search_ends_and_goes_on(toy_root, tmp_path):
    data = detection(toy_root)
    log = run(tmp_path, data, "--random-weights", SEARCH__ASYNCHRONOUS=True, SEARCH__GENERATIONS=1)
    assert len(log.history()) == 4
    log = run(tmp_path, data, "--random-weights", SEARCH__ASYNCHRONOUS=True)
    assert len(log.history()) == 8 and [c.generation for c in log.history()] == [0] * 4 + [1] * 4
    assert written(tmp_path)[1] == TINY.format(log.best()[0].network)


def test_a_candidate_that_fails_every_time_is_named_at_the_end(toy_root, tmp_path):
    # The images have no large objects.
    log = run(tmp_path, detection(toy_root), "--random-weights", SEARCH__METRIC="bbox/APl", SEARCH__GENERATIONS=1)
    assert all("bbox/APl is not a finite number" in c.error for c in log.history()) and len(log.history()) == 4
    assert "4 candidates failed and have no score: " in (tmp_path / "log.txt").read_text()
    assert not (tmp_path / "best.pth").exists()


def test_a_metric_that_does_not_exist_is_one_sentence_and_leaves_nothing_in_the_way(toy_root, tmp_path, refused):
    data = detection(toy_root)
    words = refused(run, tmp_path, data, "--random-weights", SEARCH__METRIC="bbox/AP77")
    assert words.startswith('SEARCH.METRIC "bbox/AP77" is not reported for coco:')
    # Before the first candidate was evaluated.
    assert not (tmp_path / "search.jsonl").exists()
    log = run(tmp_path, data, "--random-weights", SEARCH__GENERATIONS=1)
    assert len(log.history()) == 4 and log.header["metric"] == "bbox/AP50"


@pytest.mark.parametrize("setting, flags, words", [
    (("INITIAL", "['00-00']"), [], 'SEARCH.INITIAL "00-00": 4 blocks; space "tiny" has 8'),
    (("INITIAL", "['uniform']"), [], 'SEARCH.INITIAL "uniform": not an arch'),
    (("INITIAL", "['DetNASNet-1.3G']"), [], 'SEARCH.INITIAL "DetNASNet-1.3G" is a network of space "1.3G"'),
    (("INITIAL", "[11111111]"), [], "SEARCH.INITIAL 11111111 is no text: put quotes"),
    (("CONSTRAINTS", '["detector_flops <= 3"]'), [], "no network of"),
    (None, ["--best", "0"], "--best 0: at least 1"),
    (None, ["--arch", "DetNAS-VOC-FPN-300M"], '--arch "DetNAS-VOC-FPN-300M" is a network of space "300M"'),
])
def test_a_mistake_is_one_sentence_before_any_evaluation(toy_root, tmp_path, refused, setting, flags, words):
    settings = {f"SEARCH__{setting[0]}": setting[1]} if setting else {}
    assert words in refused(run, tmp_path, detection(toy_root), "--random-weights", *flags, **settings)
    assert not (tmp_path / "search.jsonl").exists()


def front_files(folder):
    """{name: time of writing} of the detectors of the front."""
    return {path.name: path.stat().st_mtime_ns for path in sorted((folder / "front").iterdir())}


@pytest.fixture(scope="module")
def with_front(searched, toy_root, tmp_path_factory):
    """Folder of the same search, with detectors of its front."""
    folder = shutil.copytree(searched, tmp_path_factory.mktemp("front") / "run")
    run(folder, detection(toy_root), "--random-weights", **FLOPS, SEARCH__FRONT_WINNERS=3)
    return folder


def test_detectors_of_the_front_are_evaluated_and_draw_as_the_best_does(with_front, toy_root, tmp_path, refused):
    log = SearchLog(str(with_front), TINY)
    front = {TINY.format(c.network): c for c in front_of(log.history(), ["backbone_flops"])}
    names = {path.stem for path in (with_front / "front").iterdir()}
    assert names <= front.keys() and len(names) == min(3, len({c.costs["backbone_flops"] for c in front.values()})) > 1
    for arch in names:
        file = with_front / "front" / f"{arch}.yaml"
        found = train_net.main(command(file, {}, "--eval-only"))
        assert found["bbox"]["AP50"] == pytest.approx(front[arch].score, abs=0.05)
    images = str(toy_root / "detection" / "test")
    assert predict("--config-file", file, "--input", images, "--output", tmp_path / arch, "--threshold", "0")
    sentence = refused(train_net.main, command(file, {**detection(toy_root), "OUTPUT_DIR": tmp_path / "train"}))
    assert f"give MODEL.DETNAS.ARCH {file} to a config of step 4" in sentence
    assert f"MODEL.WEIGHTS {file.with_suffix('.pth')}" in sentence and not (tmp_path / "train" / "config.yaml").exists()


@pytest.mark.parametrize("change", ["none", "a weights file is gone", "a yaml is gone", "weights are broken"])
def test_detectors_of_the_front_that_stand_are_left_alone(with_front, toy_root, tmp_path, change, capsys):
    folder = shutil.copytree(with_front, tmp_path / "run")
    before = front_files(folder)
    yaml_file, weights = (next((folder / "front").glob(f"*.{ending}")) for ending in ("yaml", "pth"))
    if change == "weights are broken":
        weights.write_bytes(b"PK")
    elif change != "none":
        (weights if "weights" in change else yaml_file).unlink()
    run(folder, detection(toy_root), "--random-weights", **FLOPS, SEARCH__FRONT_WINNERS=3)
    after = front_files(folder)
    lost = {"none": set(), "a yaml is gone": {yaml_file.name}}.get(change, {weights.name, weights.stem + ".yaml"})
    assert {name for name in after if after[name] != before.get(name)} == lost and after.keys() == before.keys()
    said = capsys.readouterr().out
    assert all(f"{folder}/front/{name}: bbox/AP50 " in said for name in after if name.endswith(".yaml"))


def test_the_latency_of_the_exported_detector_is_a_limit_an_objective_and_said(toy_root, tmp_path, capsys, monkeypatch):
    measure_little(monkeypatch)
    settings = {"SEARCH__CONSTRAINTS": "['detector_latency_ms <= 60000']", "SEARCH__DETECTOR_RESOLUTION": "(64, 64)",
                "SEARCH__OBJECTIVES": '["detector_latency_ms"]', "SEARCH__GENERATIONS": 1, "SEARCH__FRONT_WINNERS": 2}
    # With boxes of one level, which is exported in half of the time.
    settings |= {"MODEL__ROI_HEADS__IN_FEATURES": "('p5',)", "MODEL__RPN__IN_FEATURES": "('p5',)"}
    settings |= {"MODEL__ANCHOR_GENERATOR__SIZES": "[[32]]"}
    log = run(tmp_path, detection(toy_root), "--random-weights", **settings)
    assert len(log) == 4 and all(0 < c.costs["detector_latency_ms"] < 60000 for c in log.history())
    said = capsys.readouterr().out
    files = [path.name for path in (tmp_path / "front").glob("*.yaml")]
    assert len(files) == len(re.findall(r"/front/.*: bbox/AP50 .*, detector_latency_ms .* ms$", said, re.M))
    archs = re.findall(r"^Detector (\S+) in ONNX Runtime: \S+ ms predicted, \S+ ms measured$", said, re.M)
    assert {TINY.format(log.best()[0].network), *(name.removesuffix(".yaml") for name in files)} == set(archs)
    stored = json.loads((tmp_path / "latency.json").read_text())
    detectors, blocks = (next(v for k, v in stored.items() if k.startswith(w)) for w in ("detectors", "blocks"))
    assert len(detectors) == 6 and len(blocks) == 32
    # The same again evaluates and measures nothing.
    for module in (detector_latency, latency_predictor):
        monkeypatch.setattr(module, "median_times", None)
    run(tmp_path, detection(toy_root), "--random-weights", **settings)
    overrides = {**detection(toy_root), **SMALL, "OUTPUT_DIR": tmp_path, **dotted(settings)}
    predictor = latency_predictor.build_latency_predictor(toy_setup("toy_2_train_supernet", overrides), TINY)
    assert predictor.constant > 0 and all(time > 0 for row in predictor.table for time in row)
    assert predictor.header()["detector_latency"] == log.header["detector_latency"]
    assert "of 2 other networks, which take" in predictor.quality and predictor.quality.endswith("(tau)")
    assert predictor.quality in (tmp_path / "log.txt").read_text()
    assert [predictor.predict(c.network) for c in log.history()] == pytest.approx(
        [c.costs["detector_latency_ms"] for c in log.history()])
