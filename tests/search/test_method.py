"""A method that knows nothing of supernets, through the scripts."""

import json

import pytest
import three_places
from toy_runs import own_loggers

import search_net
from detnas.search.log import read_log


def run(folder, *flags, generations=3, **settings):
    keys = {"SEARCH.METHOD": "places", "SEARCH.METRIC": "value", "SEARCH.GENERATIONS": generations}
    opts = [str(word) for pair in {**keys, "OUTPUT_DIR": folder, **settings}.items() for word in pair]
    with own_loggers():
        return search_net.main(search_net.parser().parse_args(["--config-file", "", *flags, *opts]))


@pytest.fixture
def searched(tmp_path):
    run(tmp_path / "run")
    return tmp_path / "run"


def test_it_is_searched_and_its_log_is_its_own(searched, capsys):
    header, *lines = map(json.loads, (searched / "search.jsonl").read_text().splitlines())
    assert {"method": "places", "space": "places", "metric": "value"}.items() <= header.items() and "versions" in header
    candidates = [three_places.SPACE.parse(line["network"]) for line in lines]
    assert len(lines) == len(set(candidates)) == 12
    assert all(line["score"] == 2 * (c[0] + c[1] + 3 + (2, 0, 1)[c[2]]) for c, line in zip(candidates, lines))
    work = [160 * (size + 1) * (depth + 2) for size, depth, _ in candidates]
    assert [line["costs"] for line in lines] == [{"backbone_flops": cost} for cost in work]
    assert [line["parents"] == [] for line in lines[:4]] == [True] * 4 and any(line["parents"] for line in lines[4:])
    assert read_log(str(searched)).space is three_places.SPACE


def test_a_search_goes_on_where_it_stopped(searched, tmp_path):
    run(tmp_path / "again", generations=1)
    run(tmp_path / "again")
    paths = [[c.network for c in read_log(str(folder)).history()] for folder in (searched, tmp_path / "again")]
    assert paths[0] == paths[1]


def test_asynchronously_it_is_searched_as_well(tmp_path):
    assert len(run(tmp_path, **{"SEARCH.ASYNCHRONOUS": True})) == 12


def test_tables_and_report_show_it(searched, capsys):
    best = read_log(str(searched)).best()[0]
    for flag in ("--list", "--best=2", "--front", "--report"):
        run(searched, flag)
        assert flag == "--report" or three_places.SPACE.format(best.network) in capsys.readouterr().out
    assert (searched / "front.csv").read_text().startswith("arch,generation,score,backbone_flops,value,seconds")
    page = (searched / "report.html").read_text()
    assert three_places.SPACE.format(best.network) in page


def test_an_evaluation_of_one_candidate_is_refused_in_one_sentence(searched, refused):
    assert refused(run, searched, "--eval-only") == 'SEARCH.METHOD "places" evaluates no candidate by itself'


def test_an_unknown_method_is_one_sentence(tmp_path, refused):
    words = refused(run, tmp_path, **{"SEARCH.METHOD": "genes"})
    assert words.startswith('unknown SEARCH.METHOD "genes"; there are: detnas, elastic, spnas_serial, spnas_para')


def test_a_candidate_that_fails_is_called_by_its_name(tmp_path, monkeypatch):
    evaluate, seen = three_places.evaluate, []

    def fail_first(factor, candidate, parents):
        seen.append(candidate)
        if candidate == seen[0]:
            raise RuntimeError("no memory")
        return evaluate(factor, candidate, parents)

    monkeypatch.setattr(three_places, "evaluate", fail_first)
    run(tmp_path, generations=1)
    said = f"Candidate {three_places.SPACE.format(seen[0])} failed, try 1 of 2: no memory"
    assert said in (tmp_path / "log.txt").read_text()
