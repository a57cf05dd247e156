"""What a report shows of a serial search."""

import subprocess
import sys

import pytest

from detnas.report.archs import descent
from detnas.report.page import write_page
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog
from spnas import SerialCode
from spnas.space import SerialSpace

SPACE = SerialSpace("basic", 16)
HEADER = {"method": "spnas_serial", **SPACE.header(), "metric": "bbox/AP", "seed": 0}
#: code, parent, generation, score
CANDIDATES = [
    ("11-21-21", None, 0, 40.0),
    ("111-21-21", "11-21-21", 1, 41.0),
    ("11-21-21-1", "11-21-21", 1, 39.0),
    ("111-211-21", "111-21-21", 2, None),
    ("112-1-21-1", "11-21-21-1", 2, 43.0),
]


@pytest.fixture
def log(tmp_path):
    log = SearchLog(str(tmp_path / "run"), SPACE, HEADER)
    for text, parent, generation, score in CANDIDATES:
        parents = (SerialCode.parse(parent),) if parent else ()
        costs = {"backbone_flops": 1e6 * len(text)}
        log.append(Candidate(SerialCode.parse(text), generation, score, costs=costs, parents=parents))
    log.append_event({"event": "reignition", "generation": 2, "network": "111-21-21"})
    yield log
    log.close()


def test_blocks_are_told_by_kind_and_width():
    (first,), (second,), _ = SPACE.drawing(SerialCode.parse("12-12-1"))
    assert [block[0] for block in first + second] == ["1", "2", "1", "2"]
    assert [block[3] for block in first + second] == [f"basic, width {width}" for width in (16, 32, 32, 64)]
    fills = [block[1] for block in first + second]
    assert fills[1] == fills[2] and len(set(fills)) == 3
    other = SerialSpace("32x4d", 16).drawing(SerialCode.parse("12-12-1"))
    assert {block[1] for stage in other for blocks in stage for block in blocks}.isdisjoint(fills)


def test_the_line_of_descent_leads_from_the_start_to_the_winner_unless_several_have_no_parent(log):
    assert [str(c.network) for c in descent(log)] == ["11-21-21", "11-21-21-1", "112-1-21-1"]
    log.append(Candidate(SerialCode.parse("1-2-1"), 2, 1.0))
    assert descent(log) == []


def test_page_and_pictures_show_codes_descent_and_events(log, tmp_path):
    write_page({"run": log}, str(tmp_path / "report.html"))
    pictures = {path.name for path in (tmp_path / "report_figures").iterdir()}
    assert {"archs.svg", "descent.svg", "generations.svg"} <= pictures
    text = (tmp_path / "report_figures" / "descent.svg").read_text()
    assert all(f"<!-- {words} -->" in text for words in ("generation 3: 43.00, 10.0M", "basic, width 64"))
    assert "<!-- reignition -->" in (tmp_path / "report_figures" / "generations.svg").read_text()
    page = (tmp_path / "report.html").read_text()
    assert "before generation 3 of run reignition of 111-21-21" in page and '<th scope="row">112-1-21-1</th>' in page
    assert '<img alt="descent"' in page


def test_the_report_reads_its_logs_without_being_told_of_the_package(log, tmp_path):
    code = "import sys; from detnas.search.log import read_log; print(read_log(sys.argv[1]).best()[0].score)"
    command = [sys.executable, "-c", code, tmp_path / "run"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "43.0\n"
