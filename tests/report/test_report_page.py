"""The report page: what it holds, and what a browser makes of it."""

import base64
import html
import json
import re
import shutil
import subprocess

import pytest
from toy_runs import DEMO

import search_net
from detnas import get_space
from detnas.report import page as report_page
from detnas.report.command import main as report_command
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog
from detnas.search.tables import pareto_front

TINY, LARGE = get_space("tiny"), get_space("1.3G")
ERROR = "RuntimeError: </script><b>bold</b> <!-- {{title}} $x & \"quoted\" \u2028"
SCORES = [30.0, None, 33.5, 29.0, 36.0, 31.0, 36.5, 35.0]


def write_log(folder, scores=SCORES, **header):
    """A log of 4 candidates a generation; a None fails."""
    log = SearchLog(str(folder), TINY, {"method": "detnas", "space": "tiny", "metric": "bbox/AP", "seed": 0, **header})
    for number, score in enumerate(scores):
        path = tuple(number // 4**i % 4 for i in range(TINY.num_blocks))
        costs = {"backbone_flops": 30_000_000 - 1_000_000 * (number * 5 % 8), "backbone_latency_ms": 3.0 + number % 3}
        # No object was small.
        metrics = {} if score is None else {"bbox/AP": score, "bbox/AP50": 100 - score, "bbox/APs": None}
        parents = ((0,) * 8,) if number >= 4 else ()
        error = ERROR if score is None else None
        log.append(Candidate(path, number // 4, score, metrics, costs, 2.0, error=error, parents=parents))
    log.close()
    return log


def write(folder, **logs):
    """Path of the page of these logs."""
    page = folder / "report.html"
    report_page.write_page(logs, str(page))
    return page


def rows(table):
    """The rows of a table of the page as dicts."""
    names, found = table
    return [dict(zip(names, row)) for row in found]


def by(log, key, reverse=False):
    scored = [c for c in log.history() if c.score is not None]
    return [TINY.format(c.network) for c in sorted(scored, key=key, reverse=reverse)]


def in_browser(folder, page, script, width=1280):
    """What a script of JavaScript returns that sees a page as ``inside``, in a window of this width."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        pytest.skip("no Chromium on this machine")
    # A frame may be narrower than any window.
    frame = f'<iframe width={width} height=800 style="border: 0" srcdoc="{html.escape(page.read_text())}"></iframe>'
    run = "const inside = document.querySelector('iframe').contentDocument;" + script
    ask = f"onload = () => {{ document.title = JSON.stringify((() => {{ {run} }})()) }}"
    (folder / "frame.html").write_text(f"<!doctype html><title></title>{frame}<script>{ask}</script>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--dump-dom"]
    words = [program, *flags, (folder / "frame.html").as_uri()]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(html.unescape(re.search("<title>(.*?)</title>", shown)[1]))


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def page(log, tmp_path_factory):
    return write(tmp_path_factory.mktemp("page"), run=log)


def test_the_table_has_every_candidate_the_best_first_and_no_empty_column(log):
    found = rows(report_page.candidates({"run": log}))
    assert [row["arch"] for row in found[:7]] == by(log, lambda c: c.score, reverse=True)
    assert found[7]["score"] is None and found[7]["error"] == ERROR
    names = "arch score front generation backbone_flops backbone_latency_ms bbox/AP50 seconds tries parents error"
    names = names.split()
    assert list(found[0]) == names
    assert found[0]["generation"] == 2


@pytest.mark.parametrize("costs", [[], ["backbone_flops", "backbone_latency_ms"]])
def test_the_front_in_the_table_is_that_of_the_log(tmp_path, costs):
    log = write_log(tmp_path, objectives=costs)
    front = [row["arch"] for row in rows(report_page.candidates({"run": log})) if row["front"]]
    assert front == [TINY.format(c.network) for c in pareto_front(log, costs)]


def test_the_page_names_the_networks_that_were_known_and_the_search_of_several(tmp_path):
    log = write_log(tmp_path / "a", initial={"all <3x3>": "00-00-00-00"})
    logs = {"a": log, "b": write_log(tmp_path / "b", [50.0])}
    found = rows(report_page.candidates(logs))
    assert [row["arch"] for row in found if row["name"]] == ["00-00-00-00"]
    assert [row["search"] for row in found] == ["b"] + ["a"] * 8
    assert "<td>all &lt;3x3&gt;</td>" in write(tmp_path, **logs).read_text()


def test_the_settings_of_seeds_stand_together_and_what_differs_is_marked(tmp_path):
    logs = {
        "evolution_0": write_log(tmp_path / "0", [1.0]),
        "random": write_log(tmp_path / "r", [1.0], num_mutate=0),
        "evolution_1": write_log(tmp_path / "1", [2.0], seed=1),
    }
    found = {row["setting"]: row for row in rows(report_page.settings(logs))}
    assert found["seed"] == {"setting": "seed", "evolution": "0; 1", "random": "0"}
    assert found["num_mutate"]["random"] == "0" and found["metric"]["evolution"] == "bbox/AP"
    assert re.findall('class=marked><th scope="row">(.*?)<', write(tmp_path, **logs).read_text()) == ["num_mutate"]


def test_nothing_in_a_log_becomes_markup_and_the_page_needs_nothing_else(page):
    text = page.read_text()
    assert text.count("</script>") == 1 and "<b>bold" not in text and "<!--" not in text
    assert "&lt;/script&gt;&lt;b&gt;bold&lt;/b&gt; &lt;!-- {{title}}" in text
    assert not re.findall(r"https?://|@import|url\(", text)
    assert not re.findall(r"<(?:link|script|img)[^>]*(?:src|href)=\"(?!data:)", text)


def test_every_picture_is_in_the_page_and_lies_beside_it(page):
    held = dict(re.findall(r'<img alt="(\w+)" src="data:image/svg\+xml;base64,(.*?)">', page.read_text()))
    assert set(held) == {"best", "top", "generations", "cost", "archs"}
    for name, source in held.items():
        file = page.parent / "report_figures" / name
        assert base64.b64decode(source) == file.with_suffix(".svg").read_bytes()
    archs = base64.b64decode(held["archs"]).decode()
    best = re.search('<tbody>\n<tr><th scope="row">(.*?)</th>', page.read_text())[1]
    assert f"<!-- {best}  36.50 -->" in archs


@pytest.mark.parametrize("scores", [[], [None, None]])
def test_a_log_without_scores_still_gives_a_page(tmp_path, scores):
    page = write(tmp_path, run=write_log(tmp_path, scores)).read_text()
    assert "no candidate with a score yet" in page and page.count("RuntimeError") == len(scores)


def test_a_page_is_written_while_the_search_holds_its_folder(tmp_path):
    log = SearchLog(str(tmp_path), TINY, {"method": "detnas", "space": "tiny", "metric": "bbox/AP"})
    log.append(Candidate((0,) * 8, score=1.0))
    report_command([str(tmp_path), "--html", str(tmp_path / "report.html")])
    log.close()
    assert "; candidates: 1;" in (tmp_path / "report.html").read_text()


def test_search_net_writes_the_report_of_its_output_folder(tmp_path, capsys):
    write_log(tmp_path)
    words = ["--config-file", str(DEMO / "toy_2_train_supernet.yaml"), "--report", "OUTPUT_DIR", str(tmp_path)]
    search_net.main(search_net.parser().parse_args(words))
    assert capsys.readouterr().out == f"Report of 8 candidates: {tmp_path / 'report.html'}\n"
    assert f"<h1>Search {tmp_path.name}</h1>" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("flags, words", [(["--html", "x.txt"], "must end in .html"), ([], "give --out FILE")])
def test_a_wrong_call_is_one_sentence(log, tmp_path, monkeypatch, flags, words, refused):
    monkeypatch.chdir(tmp_path)
    assert re.search(f"^.*{words}", refused(report_command, [log.path.removesuffix("search.jsonl"), *flags]))
    assert list(tmp_path.iterdir()) == []


def test_a_click_sorts_the_table_and_the_next_one_turns_it_round(log, page, tmp_path):
    script = """
        const shown = () => [...inside.querySelectorAll('#candidates tbody tr')].map((row) => row.cells[0].textContent);
        const click = (column) => {
            const button = inside.querySelector(`#candidates thead th:nth-child(${column}) button`);
            button.scrollIntoView({block: 'center', behavior: 'instant'});
            const box = button.getBoundingClientRect();
            // What lies uppermost gets the click, as from a mouse.
            inside.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2).click();
            return shown();
        };
        return [shown(), click(5), click(2) && click(2),
                [...inside.querySelectorAll('#candidates thead th')].map((th) => th.ariaSort)];
    """
    first, by_flops, worst, orders = in_browser(tmp_path, page, script)
    failed = [c for c in (TINY.format(c.network) for c in log.history()) if c not in by(log, lambda c: c.score)]
    assert first == by(log, lambda c: c.score, reverse=True) + failed
    flops = {TINY.format(c.network): c.costs["backbone_flops"] for c in log.history()}
    assert by_flops == sorted(first, key=flops.get, reverse=True)
    # What has no value stays last.
    assert worst == by(log, lambda c: c.score) + failed
    assert [order for order in orders if order] == ["ascending"] and orders[1] == "ascending"


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_as_wide_as_its_window_and_a_rows_name_stays_in_view(tmp_path, width):
    log = SearchLog(str(tmp_path), LARGE, {"space": "1.3G", "metric": "bbox/AP"})
    metrics = {f"bbox/AP-{name}": 1.0 for name in "abcdefghijklmnopqrstuvwxyz"}
    log.append(Candidate((0,) * LARGE.num_blocks, score=1.0, metrics=metrics))
    log.close()
    script = """
        const box = inside.querySelector('.scroll');
        box.scrollLeft = 9999;
        const name = box.querySelector('tbody th').getBoundingClientRect(), view = box.getBoundingClientRect();
        return [box.scrollLeft, name.left - view.left, name.width / view.width, inside.documentElement.scrollWidth];
    """
    page = write(tmp_path, run=log)
    # The archs of a paper's space stand beside its published networks.
    assert "<!-- DetNASNet-1.3G -->" in (tmp_path / "report_figures" / "archs.svg").read_text()
    scrolled, left, share, whole = in_browser(tmp_path, page, script, width)
    assert scrolled > 0 and abs(left) <= 1 and whole <= width
    # Room is left for what is scrolled to.
    assert share < 0.6
