import contextlib
import dataclasses
import re

import pytest
from fuzzing import CONTENTS

from detnas import SearchSpace, get_space
from detnas.report import curves, searches, style
from detnas.report.command import main as report_command
from detnas.search import tables
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog, read_log

TINY = get_space("tiny")


def write_log(folder, scores, space=TINY, generation=None, **header):
    """A log with these scores, None for a failure, ``generation`` candidates a generation."""
    own = {"custom_space": dataclasses.asdict(space)} if space.name == "custom" else {}
    log = SearchLog(str(folder), space, {"method": "detnas", "space": space.name, "metric": "bbox/AP", **own, **header})
    for number, score in enumerate(scores):
        path = tuple(number // 4**i % 4 for i in range(space.num_blocks))
        error = None if score is not None else "it failed"
        log.append(Candidate(path, number // (generation or len(scores)), score, error=error))
    log.close()
    return log


@contextlib.contextmanager
def drawn_axes(patch, module):
    """A list to which the axes of every picture of a module of ``detnas.report`` are added, one or several of each."""
    axes, figure = [], style.figure

    @contextlib.contextmanager
    def recorded(*args, **kwargs):
        with figure(*args, **kwargs) as (fig, ax):
            axes.append(ax)
            yield fig, ax

    with patch.context() as own:
        own.setattr(module, "figure", recorded)
        yield axes


def test_the_best_so_far_never_falls_and_passes_over_failures(tmp_path):
    log = write_log(tmp_path, [None, 3.0, 1.0, None, 5.0, 4.0])
    assert searches.best_so_far(log) == {2: 3.0, 3: 3.0, 4: 3.0, 5: 5.0, 6: 5.0}


def test_a_name_is_no_formula(tmp_path):
    logs = {"$\\frac{$": write_log(tmp_path, [3.0, 1.0]), "a_b^c": write_log(tmp_path / "b", [2.0])}
    curves.plot_searches(logs, str(tmp_path / "a.png"))
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_the_top_so_far_is_of_all_generations_up_to_each_one(tmp_path):
    log = write_log(tmp_path, [None, None, 3.0, 1.0, None, 5.0, 4.0, 2.0], generation=2)
    tops = searches.top_so_far(log, 3)
    assert {g: [c.score for c in best] for g, best in tops.items()} == {
        2: [3.0, 1.0],
        3: [5.0, 3.0, 1.0],
        4: [5.0, 4.0, 3.0],
    }
    assert searches.top_means(log, 3) == {2: 2.0, 3: 3.0, 4: 4.0}


def test_the_picture_of_the_top_has_their_mean_and_each_of_them(tmp_path, monkeypatch):
    log = write_log(tmp_path, [2.0, 4.0, 6.0, 1.0], generation=2, population=2)
    with drawn_axes(monkeypatch, curves) as axes:
        curves.plot_top({"run": log}, str(tmp_path / "top.png"))
    (ax,) = axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[3.0, 5.0]]
    assert ax.collections[0].get_offsets().tolist() == [[1, 4.0], [1, 2.0], [2, 6.0], [2, 4.0]]
    assert ax.get_title(loc="left") == "Top 2 so far"


def test_kinds_of_search_have_a_colour_each_and_seeds_their_mean(tmp_path, monkeypatch):
    logs = {
        "evolution_0": write_log(tmp_path / "0", [1.0, 3.0], generation=1, seed=0),
        "evolution_1": write_log(tmp_path / "1", [3.0, 5.0], generation=1, seed=1),
        "random": write_log(tmp_path / "r", [2.0], generation=1, num_mutate=0),
    }
    with drawn_axes(monkeypatch, curves) as axes:
        curves.plot_top(logs, str(tmp_path / "top.svg"))
    named = {line.get_label(): line for line in axes[0].lines if not line.get_label().startswith("_")}
    assert [list(line.get_ydata()) for line in named.values()] == [[2.0, 3.0], [2.0]]
    assert list(named) == ["evolution (2 seeds)", "random"]
    assert len({line.get_color() for line in axes[0].lines}) == 2


def test_the_command_draws_the_picture_that_is_asked_for(tmp_path, monkeypatch):
    write_log(tmp_path, [1.0, 2.0])
    titles = {}
    for name in ("best", "top", "generations", "cost"):
        with drawn_axes(monkeypatch, curves) as axes:
            report_command([str(tmp_path), "--figure", name, "--out", str(tmp_path / f"{name}.pdf")])
        titles[name] = axes[0].get_title(loc="left")
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert len(set(titles.values())) == 4 and titles["top"] == "Top 50 so far"


@pytest.mark.parametrize("flags", [["--html", "a.html"], ["--archs", "DetNASNet-1.3G", "--out", "a.png"]])
def test_a_choice_of_picture_that_would_choose_nothing_is_refused(flags, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    folders = [] if "--archs" in flags else ["."]
    sentence = refused(report_command, [*folders, "--figure", "top", *flags])
    assert sentence.startswith("--figure goes with folders and --out FILE")
    assert list(tmp_path.iterdir()) == []


OWN = SearchSpace("custom", 4, (8, 16), (2, 1), ops=("shufflenet_3x3", "xception_3x3"))


@pytest.mark.parametrize("space", [TINY, OWN])
def test_a_log_is_read_with_the_space_of_its_header(tmp_path, space):
    write_log(tmp_path, [1.0], space)
    assert read_log(str(tmp_path)).space == space


def test_several_searches_are_drawn_into_one_picture_and_listed(tmp_path, capsys):
    for seed in (0, 1):
        write_log(tmp_path / f"evolution_{seed}", [1.0, 2.0 + seed], seed=seed)
    write_log(tmp_path / "empty", [])
    folders = [str(tmp_path / name) for name in ("evolution_0", "evolution_1", "empty")]
    report_command([*folders, "--out", str(tmp_path / "curves.png")])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [["evolution_0", "2", "2.00"], ["evolution_1", "2", "3.00"], ["empty", "0"]]


@pytest.mark.parametrize(
    "content, words", [(None, "search_net.py writes it"), *((content, "no header") for content in (b"{", *CONTENTS))]
)
def test_a_folder_without_a_log_is_one_sentence(tmp_path, content, words, refused):
    if content is not None:
        (tmp_path / "search.jsonl").write_bytes(content)
    sentence = refused(report_command, [str(tmp_path), "--out", str(tmp_path / "curves.png")])
    assert words in sentence and str(tmp_path / "search.jsonl") in sentence
    assert not (tmp_path / "curves.png").exists()


def test_the_metrics_table_shows_the_logged_values_beside(tmp_path):
    table = tables.metrics_table({"bbox/AP": 1.5}, {"bbox/AP": 2.5}).splitlines()
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


def test_known_networks_are_named_lines_in_the_picture(tmp_path):
    log = write_log(tmp_path, [1.0, 1.01, None, 3.0], initial=KNOWN)
    curves.plot_search(log, str(tmp_path / "search.svg"), str(tmp_path / "search.png"))
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")
    drawn = re.findall(r"<!-- (.*?) -->", (tmp_path / "search.svg").read_text())
    assert [text for text in drawn if text.startswith(tuple(KNOWN))] == ["all 3x3 1.00", "mine 1.01"]


def test_names_of_known_networks_do_not_stand_upon_each_other():
    with style.figure([]) as (_, ax):
        ax.set_ylim(0, 2)
        curves._draw_known(ax, [(1.0, "a"), (0.2, "b"), (1.02, "c"), (1.01, "d")])
        heights = [text.xyann[1] for text in ax.texts]
        assert heights[:2] == [0.2, 1.0] and min(b - a for a, b in zip(heights, heights[1:])) > 0.1
        assert ax.get_ylim() == (0, 2)
