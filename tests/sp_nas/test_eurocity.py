"""The configs for EuroCity Persons, from the training to the paper's table, on made-up streets."""

import json
from pathlib import Path

import pytest
from scripts import ROOT, script
from toy_runs import command, own_loggers

import search_net
import train_net
from detnas.command_line import argument_parser
from detnas.search.log import read_log

paper_tables, images = script("tools", "paper_tables"), script("demo", "images")
METRIC = "lamr/pedestrian-reasonable"


@pytest.fixture
def run(tmp_path, monkeypatch, small):
    """Function (script, config, settings) that runs it there, small, where EuroCity Persons lies as its configs say."""
    monkeypatch.setitem(images.COUNTS, "streets", {"day": {"train": 10, "val": 4}, "night": {"val": 1}})
    monkeypatch.chdir(tmp_path)
    images.generate("streets", "datasets/ECP")
    keys = {key: value for key, value in small.items() if not key.endswith(("CODE", "BLOCK"))}
    keys.update({"MODEL.WEIGHTS": "", "MODEL.ANCHOR_GENERATOR.SIZES": "[[32]]", "SOLVER.STEPS": "()",
                 "SEARCH.GENERATIONS": 2, "SEARCH.REIGNITIONS": 0, "SEARCH.CONSTRAINTS": "()"})

    def run(of, config, **settings):
        words = {**keys, **{name.replace("__", "."): value for name, value in settings.items()}}
        parser = search_net.parser() if of is search_net else argument_parser()
        with own_loggers():
            return of.main(command(ROOT / "configs" / "SPNAS" / f"{config}.yaml", words, parser=parser))

    return run


def test_both_searches_go_by_the_miss_rate_and_the_published_network_stands_in_the_table(run, capsys):
    run(train_net, "ecp_serial")
    run(search_net, "ecp_serial", MODEL__WEIGHTS="output/SPNAS/ecp_serial/model_final.pth")
    run(search_net, "ecp_parallel")
    for search in ("serial", "parallel"):
        log = read_log(f"output/SPNAS/ecp_{search}")
        assert all(c.score == -c.metrics[METRIC] for c in log.history()) and len(log.best(None)) == 3
        assert log.best()[0].metrics[METRIC] == min(c.metrics[METRIC] for c in log.history())
    run(train_net, "ecp_spnet_cascade")
    folder = Path("output/SPNAS/ecp_spnet_cascade")
    found = json.loads((folder / "metrics.json").read_text().splitlines()[-1])
    capsys.readouterr()
    paper_tables.main(["results", str(folder)])
    head, _, own, *published = capsys.readouterr().out.splitlines()
    names, cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in (head, own))
    row = dict(zip(names, cells))
    assert (row["network"], row["detector"], row["tested on"]) == ("SPNet-ECP", "Cascade R-CNN", "day/val")
    assert float(row["pedestrian, reasonable"]) == pytest.approx(found[METRIC], abs=0.05)
    assert "the paper" in published[0] and " 5.5 " in published[0] and " 13.9 " in published[1]
