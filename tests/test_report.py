import dataclasses
import json
import re

import pytest

from detnas import SearchSpace, get_space, report
from detnas.report import curves, style
from detnas.report.searches import drawn_at_random
from detnas.search import tables
from detnas.search.log import Candidate, SearchLog

TINY = get_space("tiny")


def write_log(folder, scores, space=TINY, **header):
    own = {"own_space": dataclasses.asdict(space)} if space.name == "own" else {}
    log = SearchLog(str(folder), space, {"space": space.name, "metric": "bbox/AP", **own, **header})
    for number, score in enumerate(scores):
        path = tuple(number // 4**i % 4 for i in range(space.num_blocks))
        log.append(Candidate(path, score=score, error=None if score is not None else "it failed"))
    log.close()
    return log


def test_the_best_so_far_never_falls_and_passes_over_failures(tmp_path):
    log = write_log(tmp_path, [None, 3.0, 1.0, None, 5.0, 4.0])
    assert report.best_so_far(log) == [None, 3.0, 3.0, 3.0, 5.0, 5.0]


OWN = SearchSpace("own", 4, (8, 16), (2, 1), ops=("shufflenet_3x3", "xception_3x3"))


@pytest.mark.parametrize("space", [TINY, OWN])
def test_a_log_is_read_with_the_space_of_its_header(tmp_path, space):
    write_log(tmp_path, [1.0], space)
    assert report.read_log(str(tmp_path)).space == space


def test_several_searches_are_drawn_into_one_picture_and_listed(tmp_path, capsys):
    for seed in (0, 1):
        write_log(tmp_path / f"evolution_{seed}", [1.0, 2.0 + seed], seed=seed)
    write_log(tmp_path / "empty", [])
    folders = [str(tmp_path / name) for name in ("evolution_0", "evolution_1", "empty")]
    report.main([*folders, "--out", str(tmp_path / "curves.png")])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [["evolution_0", "2", "2.00"], ["evolution_1", "2", "3.00"], ["empty", "0"]]


@pytest.mark.parametrize(
    "content, words", [(None, "search_net.py writes it"), ("[]\n", "no header"), ("{", "no header")]
)
def test_a_folder_without_a_log_is_one_sentence(tmp_path, content, words):
    if content:
        (tmp_path / "search.jsonl").write_text(content)
    with pytest.raises(SystemExit) as caught:
        report.main([str(tmp_path), "--out", str(tmp_path / "curves.png")])
    assert str(caught.value).startswith("error: ") and words in str(caught.value)
    assert not (tmp_path / "curves.png").exists()


def test_the_metrics_table_shows_the_logged_values_beside(tmp_path):
    table = report.metrics_table({"bbox/AP": 1.5}, {"bbox/AP": 2.5}).splitlines()
    assert table[0].split() == ["metric", "value", "logged"] and table[2].split() == ["bbox/AP", "1.500000", "2.500000"]


KNOWN = {"all 3x3": "00-00-00-00", "mine": "10-00-00-00", "failed": "20-00-00-00", "not yet": "33-33-33-33"}


def test_known_networks_have_their_name_in_the_tables_and_a_line_of_scores(tmp_path):
    log = write_log(tmp_path, [1.0, 2.0, None, 3.0], initial=KNOWN)
    lines = tables.candidate_table(log, log.history()).splitlines()
    assert lines[0].split()[:2] == ["arch", "name"] and "all 3x3" in lines[2] and "mine" in lines[3]
    assert [row["name"] for row in tables.candidate_rows(log, log.history())] == ["all 3x3", "mine", "failed", ""]
    assert tables.to_beat(log) == "mine 2.00, all 3x3 1.00"
    assert "name" not in tables.candidate_table(log, log.best(1)).splitlines()[0].split()
    other = write_log(tmp_path / "other", [1.0])
    assert tables.to_beat(other) == "" and "name" not in tables.candidate_rows(other, other.history())[0]


def test_known_networks_are_named_lines_in_the_picture_and_no_random_ones(tmp_path):
    log = write_log(tmp_path, [1.0, 1.01, None, 3.0], initial=KNOWN)
    report.plot_search(log, str(tmp_path / "search.svg"), str(tmp_path / "search.png"))
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
    drawn = re.findall(r"<!-- (.*?) -->", (tmp_path / "search.svg").read_text())
    assert [text for text in drawn if text.startswith(tuple(KNOWN))] == ["all 3x3 1.00", "mine 1.01"]
    assert [c.score for c in drawn_at_random(log)] == [3.0]


def test_names_of_known_networks_do_not_stand_upon_each_other():
    with style.figure([]) as (_, ax):
        ax.set_ylim(0, 2)
        curves._draw_known(ax, [(1.0, "a"), (0.2, "b"), (1.02, "c"), (1.01, "d")])
        heights = [text.xyann[1] for text in ax.texts]
        assert heights[:2] == [0.2, 1.0] and min(b - a for a, b in zip(heights, heights[1:])) > 0.1
        assert ax.get_ylim() == (0, 2)


def test_a_header_may_hold_more_than_is_known(tmp_path):
    write_log(tmp_path, [1.0], more={"than": ["is", "known"]})
    assert json.dumps(report.read_log(str(tmp_path)).header["more"]) == '{"than": ["is", "known"]}'
