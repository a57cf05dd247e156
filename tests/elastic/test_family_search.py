import re
import shutil

import pytest
import torch
from export_runs import export
from family_runs import FAMILY, TOY, search, train, words
from toy_runs import measure_little, own_loggers, result

import train_net
from detnas.command_line import argument_parser
from detnas.config.load import candidate_space, load_config
from detnas.launch.outputs import read_metrics
from detnas.search import evaluator
from detnas.search.log import read_log
from elasticdet import method


@pytest.fixture(scope="module")
def trained(toy_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    with own_loggers():
        train(toy_root, folder)
    return folder


@pytest.fixture
def searched(toy_root, trained, tmp_path):
    search(toy_root, shutil.copytree(trained, tmp_path / "family"))
    return tmp_path / "family"


def test_a_resumed_training_of_a_family_ends_as_one_that_was_not_interrupted(toy_root, trained, tmp_path):
    folder = tmp_path / "resumed"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("model_final.pth", "model_0000003.pth"))
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    train(toy_root, folder, 4, "--resume")
    whole, resumed = (torch.load(f / "model_final.pth", weights_only=True)["model"] for f in (trained, folder))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_training_says_how_good_each_size_is(trained):
    evaluated = [line for line in read_metrics(str(trained)) if "size_32/bbox/AP" in line]
    assert [line["iteration"] for line in evaluated] == [2, 4]
    assert {"size_64/bbox/AP", "supernet/mean"} <= set(evaluated[0])


def test_every_child_of_the_front_is_a_config_of_its_own_and_gives_its_figure_again(searched):
    log = read_log(str(searched))
    # Images of 48 pixels are padded to 64.
    assert len(log) == 6 and len({c.costs["detector_flops"] for c in log.history()}) == 4
    for candidate in log.history():
        file = searched / "front" / f"{log.space.format(candidate.network)}.yaml"
        args = argument_parser().parse_args(["--config-file", str(file), "--eval-only"])
        assert not file.exists() or train_net.main(args)["bbox"]["AP"] == pytest.approx(candidate.score, abs=1e-4)


def test_children_that_differ_in_tests_alone_share_a_recalibration(toy_root, trained, tmp_path, monkeypatch):
    seen, recalibrate = [], evaluator.recalibrate_bn
    monkeypatch.setattr(evaluator, "recalibrate_bn", lambda *args: seen.append(recalibrate(*args)))
    search(toy_root, shutil.copytree(trained, tmp_path / "family"))
    # Three sizes, for six children and three winners.
    assert len(read_log(str(tmp_path / "family"))) == 6 and len(seen) == 3


def test_a_child_of_the_front_is_exported_and_gives_the_same_boxes(searched, tmp_path, capsys):
    files = ["--config-file", searched / "front" / "0-0.yaml", "--output", tmp_path]
    export(*files, "--format", "onnx", "--format", "torchscript")
    assert {"detector.onnx", "detector.ts"} <= {file.name for file in tmp_path.iterdir()}
    assert len(re.findall(r"detections compared: [1-9]", capsys.readouterr().out)) == 2


def test_a_search_that_goes_on_or_has_two_workers_finds_the_same(toy_root, searched, tmp_path):
    log, file = read_log(str(searched)), searched / "search.jsonl"
    file.write_text("".join(file.read_text().splitlines(True)[:4]))
    assert result(search(toy_root, searched)) == result(log)
    pytest.importorskip("ray", reason="Ray is not installed")
    file.unlink()
    # Workers finish in any order.
    assert sorted(result(search(toy_root, searched, "--cpu-processes", "2"))) == sorted(result(log))


def test_the_best_within_a_limit_is_picked(toy_root, searched, capsys, refused):
    cheapest = min(read_log(str(searched)).history(), key=lambda c: c.costs["detector_flops"])
    shutil.rmtree(searched / "front")
    search(toy_root, searched, "--pick", f"detector_flops <= {cheapest.costs['detector_flops']}")
    assert [file.name for file in sorted((searched / "front").iterdir())] == ["0-0.pth", "0-0.yaml"]
    said = refused(search, toy_root, searched, "--pick", "detector_flops <= 1e6")
    assert "holds no candidate with detector_flops <= 1.0M; the nearest, 0-0, has" in said
    other = str(searched / "model_0000001.pth")
    said = refused(search, toy_root, searched, "--pick", "best", "MODEL.WEIGHTS", other)
    assert said == f"MODEL.WEIGHTS {other}: {searched}/search.jsonl is a search of other weights"


@pytest.mark.parametrize("changed, message", [
    ({"SEARCH.CONSTRAINTS": "('detector_flops <= 1',)"}, "no network of \"elastic\" was found"),
    ({"MODEL.ELASTIC.SIZES": "(24, 64)"}, "size 24 was never trained"),
    ({"MODEL.ELASTIC.SIZES": "(48, 64)"}, "belongs to a search with other settings"),
])
def test_what_cannot_be_searched_is_one_sentence(toy_root, searched, refused, changed, message):
    assert message in refused(search, toy_root, searched, **changed)


def test_children_of_a_network_from_random_weights_are_timed(monkeypatch, tmp_path):
    measure_little(monkeypatch)
    cfg = load_config(TOY, words({**FAMILY, "OUTPUT_DIR": tmp_path, "SEARCH.OBJECTIVES": "('detector_latency_ms',)"}))
    assert method.FamilySearch.build_costs(cfg, candidate_space(cfg)).cost("detector_latency_ms", (0, 0)) > 0


def test_too_few_images_are_one_sentence(toy_root, trained, refused):
    more = {"MODEL.ELASTIC.FEWEST_IMAGES": 20}
    assert "has 4 images; children are compared on 20 at least" in refused(search, toy_root, trained, **more)


def test_the_sizes_of_a_plain_detector_are_swept(toy_root, trained, tmp_path, caplog):
    shutil.copy(trained / "model_final.pth", tmp_path)
    search(toy_root, tmp_path)
    assert "is of one detector" in caplog.text
