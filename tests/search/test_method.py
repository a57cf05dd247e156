"""A method that knows nothing of supernets, through the scripts."""

import json
from pathlib import Path

import bit_strings
import pytest
from toy_runs import own_loggers

import search_net
from detnas.search.log import read_log


def run(folder, *flags, generations=3, **settings):
    keys = {"SEARCH.METHOD": "bits", "SEARCH.METRIC": "value", "SEARCH.GENERATIONS": generations, "OUTPUT_DIR": folder}
    opts = [str(word) for pair in {**keys, **settings}.items() for word in pair]
    with own_loggers():
        return search_net.main(search_net.parser().parse_args(["--config-file", "", *flags, *opts]))


@pytest.fixture
def searched(tmp_path):
    run(tmp_path / "run")
    return tmp_path / "run"


def test_it_is_searched_and_its_log_is_its_own(searched, capsys):
    header, *lines = map(json.loads, (searched / "search.jsonl").read_text().splitlines())
    assert (header["method"], header["space"], header["metric"]) == ("bits", "bits", "value") and "versions" in header
    assert len(lines) == 12 and all(line["score"] == 2 * int(line["path"], 2) for line in lines)
    assert all(line["costs"] == {"ones": line["path"].count("1")} for line in lines)
    assert [line["parents"] == [] for line in lines[:4]] == [True] * 4 and any(line["parents"] for line in lines[4:])
    assert isinstance(read_log(str(searched)).space, bit_strings.BitSpace)


def test_a_search_goes_on_where_it_stopped(searched, tmp_path):
    run(tmp_path / "again", generations=1)
    run(tmp_path / "again")
    paths = [[c.path for c in read_log(str(folder)).history()] for folder in (searched, tmp_path / "again")]
    assert paths[0] == paths[1]


def test_asynchronously_and_on_ray_workers_it_is_the_same_search(searched, tmp_path, monkeypatch):
    assert len(run(tmp_path / "asynchronous", **{"SEARCH.ASYNCHRONOUS": True}))
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("PYTHONPATH", str(Path(bit_strings.__file__).parent))
    log = run(tmp_path / "ray", "--cpu-processes", "2")
    assert {c.path: c.score for c in log.history()} == {c.path: c.score for c in read_log(str(searched)).history()}


def test_tables_and_report_show_it(searched, capsys):
    best = read_log(str(searched)).best()[0]
    for flag in ("--list", "--best=2", "--front", "--report"):
        run(searched, flag)
        assert flag == "--report" or bit_strings.BitSpace().format(best.path) in capsys.readouterr().out
    assert (searched / "front.csv").read_text().startswith("arch,generation,score,ones,value,seconds")
    page = (searched / "report.html").read_text()
    assert bit_strings.BitSpace().format(best.path) in page and '"ops": []' in page


def test_an_evaluation_of_one_candidate_is_refused_in_one_sentence(searched, refused):
    assert refused(run, searched, "--eval-only") == 'SEARCH.METHOD "bits" evaluates no candidate by itself'


def test_an_unknown_method_is_one_sentence(tmp_path, refused):
    words = refused(run, tmp_path, **{"SEARCH.METHOD": "genes"})
    assert words.startswith('unknown SEARCH.METHOD "genes"; there are: paths, serial, parallel, bits')
