import dataclasses
import json

import pytest

from detnas import SearchSpace, get_space, report
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


def test_a_header_may_hold_more_than_is_known(tmp_path):
    write_log(tmp_path, [1.0], more={"than": ["is", "known"]})
    assert json.dumps(report.read_log(str(tmp_path)).header["more"]) == '{"than": ["is", "known"]}'
