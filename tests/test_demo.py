"""How the demo of SP-NAS shares out the time, and its tables."""

import json

import pytest

from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog
from spnas import ParallelCode, SerialCode
from spnas.space import ParallelSpace, SerialSpace

START, SERIAL = "11-21-1", "111-21-1"


def write_metrics(folder, *lines):
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def demo(tmp_path, monkeypatch, pytestconfig):
    """The demo after its two searches."""
    monkeypatch.chdir(pytestconfig.rootpath)
    monkeypatch.syspath_prepend(pytestconfig.rootpath / "demo")
    import spnas_demo

    for name in ("START", "SERIAL", "PARALLEL"):
        monkeypatch.setattr(spnas_demo, name, str(tmp_path / name.lower()))
    monkeypatch.setattr(spnas_demo, "OUTPUT", str(tmp_path))
    write_metrics(tmp_path / "start", {"time": 0.2}, {"time": 0.1}, {"time": 0.1}, {"bbox/AP": 40.0})
    space = SerialSpace("basic", 16)
    with_copies = ParallelSpace(SERIAL, "basic", 16)
    logs = (
        (space, ((START, 50.0, 10.0), (SERIAL, 60.0, 20.0))),
        (with_copies, ((SERIAL, 61.0, 20.0), (f"{SERIAL}_0-0-1", 62.0, 40.0))),
    )
    for space, candidates in logs:
        header = {"method": f"spnas_{space.name}", "metric": "bbox/AP", **space.header()}
        log = SearchLog(str(tmp_path / space.name), space, header)
        for generation, (code, score, seconds) in enumerate(candidates):
            costs = {"backbone_flops": 5e6 * len(code)}
            log.append(Candidate(space.parse(code), generation, score, seconds=seconds, costs=costs))
        log.close()
    return spnas_demo


def test_every_network_is_trained_for_the_time_of_all(demo):
    times = demo.Times()
    # Both searches take 30 + 60 s. A step of the start network takes 0.1 s, of the serial winner twice, of the parallel
    # one four times as much; that is trained for 600 steps at the end, 240 s.
    assert (times.first, times.second, times.training()) == (30, 60, pytest.approx(240))
    assert times.start_network() == 600 + round((30 + 60 + 240) / 0.1)
    assert times.serial_winner() == round((60 + 240) / 0.2)
    assert demo.codes() == (SerialCode.parse(START), SerialCode.parse(SERIAL), ParallelCode.parse(f"{SERIAL}_0-0-1"))


def test_the_table_has_the_three_networks_after_equal_time(demo, tmp_path):
    for name, ap in (("start_alone", 51.0), ("serial_on", 63.0), ("parallel_on", 64.5)):
        write_metrics(tmp_path / name, {"time": 0.1}, {"bbox/AP": ap})
    text = demo.results({"serial search": 31.0})
    assert "AP on the test images after 390 s in all" in text
    rows = [line.split("|")[1:-1] for line in text.splitlines() if START in line or SERIAL in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        [f"start network, {START}", "35.0", "50.0", "51.0"],
        [f"serial winner, {SERIAL}", "40.0", "60.0", "63.0"],
        [f"parallel winner, {SERIAL}_0-0-1", "70.0", "62.0", "64.5"],
    ]
