"""Parallel searches through the command line, on the generated images."""

import json
import shutil

import pytest
import torch
from toy_runs import result

from detnas.config.load import load_config
from detnas.search.log import read_log
from detnas.search.method import get_method
from spnas import ParallelCode
from spnas.parallel_search import ParallelSearch
from spnas.space import ParallelSpace


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    return tmp_path_factory.mktemp("serial")


@pytest.fixture
def parallel(search, serial):
    """Function (folder, *flags, settings) that runs a parallel search; the serial one before it is there."""
    if not (serial / "best.pth").is_file():
        search(serial, SEARCH__GENERATIONS=2)

    def run(folder, *flags, **settings):
        first = {"SEARCH__METHOD": "spnas_parallel", "SEARCH__SERIAL_OUTPUT": serial, "SEARCH__GENERATIONS": 2}
        return search(folder, *flags, **{**first, "MODEL__SPNAS__CODE": "11-2-1-1", **settings})

    return run


def test_both_phases_and_a_search_that_goes_on_where_it_stopped_and_repeats_nothing(
    parallel, serial, tmp_path, capsys, check_winner, stopped_at
):
    log, folder = parallel(tmp_path / "run"), tmp_path / "run"
    serial = read_log(str(serial)).best()[0]
    header = json.loads((folder / "search.jsonl").read_text().splitlines()[0])
    assert (header["method"], header["serial"]) == ("spnas_parallel", str(serial.network))
    first, *others = log.history()
    assert str(first.network) == str(serial.network) and len(others) == 2
    assert all(str(c.network).startswith(f"{serial.network}_") and c.parents == (first.network,) for c in others)
    assert all(c.costs["backbone_flops"] > first.costs["backbone_flops"] for c in others)
    assert f"the start network, {serial.network}, had {first.score:.2f}" in capsys.readouterr().out
    check_winner(folder, parallel)
    parallel(folder, "--report")
    assert f'<th scope="row">{log.best()[0].network}</th>' in (folder / "report.html").read_text()

    calls = stopped_at(1, 3)
    for _ in range(2):
        with pytest.raises(SystemExit, match="Stopped; "):
            parallel(tmp_path / "again")
    assert result(parallel(tmp_path / "again")) == result(log) and len(calls) == 3 + 2


def test_torn_weights_of_the_serial_winner_are_one_sentence(parallel, serial, tmp_path, refused):
    file = shutil.copytree(serial, tmp_path / "serial") / "best.pth"
    file.write_bytes(file.read_bytes()[:999])
    assert f"weights {file} cannot be read" in refused(parallel, tmp_path / "run", SEARCH__SERIAL_OUTPUT=file.parent)


def test_candidates_start_from_the_serial_winner(parallel, serial, tmp_path, monkeypatch):
    from spnas import evaluator

    found = []

    def train(cfg):
        model = evaluator.build_trainer(cfg, resume=True).model
        found.append((str(model.backbone.bottom_up.code), model.state_dict()))
        return model

    monkeypatch.setattr(evaluator, "train", train)
    log = parallel(tmp_path / "run")
    winner = torch.load(serial / "best.pth", weights_only=True)["model"]
    assert [code for code, _ in found] == [str(c.network) for c in log.history()]
    for code, state in found:
        assert all(torch.equal(state[name], value) for name, value in winner.items())
        assert any(".rows." in name for name in state) == ("_" in code)
    # Nothing is trained: copies change no score.
    assert len({c.score for c in log.history()}) == 1


@pytest.mark.parametrize("settings, words", [
    ({"SEARCH__SERIAL_OUTPUT": "nowhere"}, "nowhere/best.yaml does not exist; the serial search writes it"),
    (
        {"SEARCH__SERIAL_OUTPUT": "''", "MODEL__SPNAS__CODE": "1-2-1_0-1-0"},
        '"1-2-1_0-1-0" has copies of stages already',
    ),
    (
        {"SEARCH__METHOD": "spnas_serial", "MODEL__SPNAS__CODE": "1-2-1_0-1-0"},
        '"1-2-1_0-1-0" has copies of stages; a serial search begins without',
    ),
    ({"SEARCH__SERIAL_OUTPUT": "''", "SEARCH__CONSTRAINTS": "('backbone_flops <= 1e3',)"}, "the start network"),
])
def test_what_cannot_be_searched_is_one_sentence(search, tmp_path, settings, words, capsys):
    with pytest.raises(SystemExit):
        search(tmp_path / "run", **{"SEARCH__METHOD": "spnas_parallel", **settings})
    assert words in capsys.readouterr().err


def test_a_search_without_a_serial_one_starts_from_the_weights_of_the_config(search, tmp_path):
    log = search(tmp_path / "run", SEARCH__METHOD="spnas_parallel", SEARCH__GENERATIONS=2, MODEL__SPNAS__CODE="1-2-1-1")
    assert str(log.history()[0].network) == "1-2-1-1" and len(log) == 3


def test_copies_add_up_to_the_counted_multiply_adds(monkeypatch, pytestconfig):
    monkeypatch.chdir(pytestconfig.rootpath)
    opts = ["MODEL.DEVICE", "cpu", "SEARCH.CONSTRAINTS", "()", "MODEL.SPNAS.CODE", "1-2-1-1"]
    cfg = load_config("configs/SPNAS/Base-FPN.yaml", opts)
    _, limits, searcher = ParallelSearch.read(cfg)
    code = ParallelCode(searcher.start.serial, (1, 3, 0, 2))
    serial = limits.costs.cost("backbone_flops", searcher.start)
    assert serial * (1 + searcher.added(code)) == pytest.approx(limits.costs.cost("backbone_flops", code))
    assert searcher.added(searcher.start) == 0


def test_a_report_draws_copies_below_their_stages():
    space = ParallelSpace("12-1-1", "basic", 16)
    stages = space.drawing(space.parse("12-1-1_2-0-1"))
    assert [len(lines) for lines in stages] == [3, 1, 2]
    assert [[block[0] for block in line] for line in stages[0]] == [["1", "2"]] * 3
    with pytest.raises(ValueError, match='"1-2-1" is no network of this search, whose serial network is 12-1-1'):
        space.parse("1-2-1")


@pytest.mark.parametrize("method", ["spnas_serial", "spnas_parallel"])
def test_a_network_with_copies_is_trained_by_the_config_of_either_search(method, monkeypatch, pytestconfig):
    monkeypatch.chdir(pytestconfig.rootpath)
    cfg = load_config("configs/SPNAS/Base-FPN.yaml", ["MODEL.SPNAS.CODE", "111-2111-211111-211_0-1-0-2"])
    cfg.SEARCH.METHOD = method
    cfg.SEARCH.SERIAL_OUTPUT = "yet/to/come" if method == "spnas_parallel" else ""
    get_method(method).check_before_training(cfg)
