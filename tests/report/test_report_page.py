"""The report page: what it holds, and what a browser makes of it."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from chromium import Browser, chromium

import search_net
from detnas import get_space, report
from detnas.report.page import page_data
from detnas.report.style import SEARCH_COLOURS
from detnas.search.candidate import Candidate
from detnas.search.log import SearchLog
from detnas.search.tables import pareto_front

TINY, LARGE = get_space("tiny"), get_space("1.3G")
ERROR = "RuntimeError: </script><b>bold</b> <!-- {{data}} $x & \"quoted\" \u2028"
SCORES = [30.0, None, 33.5, 29.0, 36.0, 31.0, 36.5, 35.0]


def write_log(folder, scores=SCORES, **header):
    """A log of 4 candidates a generation; a None fails."""
    log = SearchLog(str(folder), TINY, {"space": "tiny", "metric": "bbox/AP", "seed": 0, **header})
    for number, score in enumerate(scores):
        path = tuple(number // 4**i % 4 for i in range(TINY.num_blocks))
        costs = {"backbone_flops": 30_000_000 - 1_000_000 * (number * 5 % 8), "latency_ms": 3.0 + number % 3}
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
    report.write_page(logs, str(page))
    return page


def data(page):
    """The JSON in a page, found as a browser finds it."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.S)[1])


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def page(log, tmp_path_factory):
    return write(tmp_path_factory.mktemp("page"), run=log)


def test_the_page_holds_every_candidate_and_the_settings(log, page):
    (search,) = data(page)["searches"]
    assert [c["path"] for c in search["candidates"]] == [TINY.format(c.path) for c in log.history()]
    assert [c["score"] for c in search["candidates"]] == SCORES
    assert search["candidates"][1]["error"] == ERROR and search["header"] == log.header


def test_the_fronts_in_the_page_are_those_of_the_log(log, page):
    (search,) = data(page)["searches"]
    for cost in ("backbone_flops", "latency_ms"):
        archs = [search["candidates"][i]["path"] for i in search["fronts"][cost]]
        assert archs == [TINY.format(c.path) for c in pareto_front(log, [cost])]


def test_a_log_with_several_objectives_has_one_front_of_all(tmp_path):
    costs = ["backbone_flops", "latency_ms"]
    log = write_log(tmp_path, objectives=costs)
    (search,) = page_data({"run": log})["searches"]
    assert search["jointFront"]
    assert [len(front) for front in search["fronts"].values()] == [len(pareto_front(log, costs))] * 2


def test_the_page_names_the_networks_that_were_known(tmp_path):
    log = write_log(tmp_path, initial={"all <3x3>": "00-00-00-00"})
    (search,) = page_data({"run": log})["searches"]
    assert [c["name"] for c in search["candidates"]] == ["all <3x3>"] + [None] * 7
    page = write(tmp_path, run=log)
    assert data(page)["searches"][0]["candidates"][0]["name"] == "all <3x3>"


def test_a_browser_draws_the_networks_that_were_known_as_named_lines(tmp_path):
    page = write(tmp_path, run=write_log(tmp_path, initial={"all <3x3>": "00-00-00-00"}))
    dom, console = browse(page, tmp_path / "profile")
    assert console == [] and "all &lt;3x3&gt;: 30.00" in dom and 'data-key="name"' in dom


def test_a_metric_that_no_candidate_has_is_null_in_the_page(page):
    (search,) = data(page)["searches"]
    assert all(c["metrics"]["bbox/APs"] is None for c in search["candidates"] if c["score"] is not None)


def test_nothing_in_a_log_can_end_the_script_or_become_markup(page):
    text = page.read_text()
    assert text.count("</script>") == 3 and "<b>bold" not in text and "<!--" not in text


def test_the_page_needs_nothing_else(page):
    text = page.read_text()
    assert not re.findall(r"https?://|@import|url\(", text)
    assert not re.findall(r"<(?:link|script|img)[^>]*(?:src|href)=\"(?!data:,)", text)


def test_every_picture_lies_beside_the_page_as_png_and_svg(page):
    figures = data(page)["figures"]
    assert set(figures) == {"best", "top", "generations", "cost", "random", "archs", "frequencies"}
    for file in figures.values():
        assert (page.parent / f"{file}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (page.parent / f"{file}.svg").read_text()


@pytest.mark.parametrize("scores", [[], [None, None]])
def test_a_log_without_scores_still_gives_a_page(tmp_path, scores):
    page = write(tmp_path, run=write_log(tmp_path, scores))
    (search,) = data(page)["searches"]
    assert len(search["candidates"]) == len(scores) and search["best"] == []


def test_seeds_of_one_search_form_a_band_as_far_as_all_have_come(tmp_path):
    logs = {
        "evolution_0": write_log(tmp_path / "0", [1.0, 4.0, 2.0]),
        "random_0": write_log(tmp_path / "r", [1.0, 2.0], num_mutate=0),
        "evolution_1": write_log(tmp_path / "1", [None, 2.0], seed=1),
        "evolution_2": write_log(tmp_path / "2", [], seed=2),
    }
    found = page_data(logs)
    assert [(group["label"], group["bestBand"]) for group in found["groups"]] == [
        ("evolution", [(2, 2.0, 3.0, 4.0)]),
        ("random_0", []),
    ]
    assert [search["group"] for search in found["searches"]] == [0, 1, 0, 0]


def test_the_page_has_the_top_so_far_of_each_generation(tmp_path):
    log = write_log(tmp_path / "0", [1.0, None, 3.0, 2.0, 5.0], population=3)
    found = page_data({"run": log})
    (search,) = found["searches"]
    assert found["topCount"] == 3
    assert search["tops"] == [(1, [2, 3, 0]), (2, [4, 2, 3])] and search["topMeans"] == [(1, 2.0), (2, 10 / 3)]
    other = write_log(tmp_path / "1", [3.0], seed=1, population=3)
    (group,) = page_data({"run_0": log, "run_1": other})["groups"]
    assert group["topMeansBand"] == [(1, 2.0, 2.5, 3.0)]


def test_a_browser_draws_the_top_so_far(tmp_path):
    page = write(tmp_path, run=write_log(tmp_path, population=4))
    dom, console = browse(page, tmp_path / "profile")
    chart = re.search(r'id="top-so-far">(.*?)</svg>', dom)[1]
    # Three of the first four have a score, four are the top of all; a dot for each mean, one that follows the mouse.
    assert console == [] and "Top 4 so far (paper, Fig. 2)" in dom
    assert len(re.findall("<circle", chart)) == 3 + 4 + 2 + 1


def test_a_page_is_written_while_the_search_holds_its_folder(tmp_path):
    log = SearchLog(str(tmp_path), TINY, {"space": "tiny", "metric": "bbox/AP"})
    log.append(Candidate((0,) * 8, score=1.0))
    report.main([str(tmp_path), "--html", str(tmp_path / "report.html")])
    log.append(Candidate((1,) * 8, score=2.0))
    assert len(data(tmp_path / "report.html")["searches"][0]["candidates"]) == 1


def test_search_net_writes_the_report_of_its_output_folder(tmp_path, capsys):
    write_log(tmp_path)
    config = Path(search_net.__file__).parent / "configs" / "demo" / "toy_2_train_supernet.yaml"
    words = ["--config-file", str(config), "--report", "OUTPUT_DIR", str(tmp_path)]
    search_net.main(search_net.parser().parse_args(words))
    assert capsys.readouterr().out == f"Report of 8 candidates: {tmp_path / 'report.html'}\n"
    assert data(tmp_path / "report.html")["searches"][0]["label"] == tmp_path.name


@pytest.mark.parametrize("flags, words", [(["--html", "x.txt"], "must end in .html"), ([], "give --out FILE")])
def test_a_wrong_call_is_one_sentence(log, tmp_path, monkeypatch, flags, words, refused):
    monkeypatch.chdir(tmp_path)
    assert re.search(f"^.*{words}", refused(report.main, [log.path.removesuffix("search.jsonl"), *flags]))
    assert list(tmp_path.iterdir()) == []


def browse(page, folder, fragment=""):
    """The DOM after the page's scripts have run, and what they wrote to the console."""
    flags = ["--enable-logging=stderr", "--v=0", "--dump-dom", "--window-size=1280,900", "--virtual-time-budget=3000"]
    command = chromium(folder, *flags, f"{page.as_uri()}{fragment}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def shown_archs(dom):
    return re.findall(r'<tr data-arch="([^"]*)"', dom)


def by(log, key, reverse=False):
    scored = [c for c in log.history() if c.score is not None]
    return [TINY.format(c.path) for c in sorted(scored, key=key, reverse=reverse)]


def test_a_browser_shows_the_page_without_errors_and_the_front_of_the_log(log, page, tmp_path):
    dom, console = browse(page, tmp_path)
    assert console == []
    assert len(re.findall(r'<circle[^>]*class="front"', dom)) == len(pareto_front(log))
    assert shown_archs(dom) == by(log, lambda c: c.score, reverse=True)
    assert "&lt;/script&gt;&lt;b&gt;bold&lt;/b&gt;" in dom
    best = TINY.format(log.best()[0].path)
    assert f'data-yaml="MODEL: {{DETNAS: {{ARCH: &quot;{best}&quot;}}}}"' in dom


def test_the_table_sorts_by_the_address_and_by_a_click(log, page, tmp_path):
    # The first click turns the address's order round, which the title then records; the second sorts by another column.
    clicks = "document.querySelector('#candidates th[data-key=%s] button').click();"
    copy = tmp_path / "copy.html"
    record = "setTimeout(() => { document.title = [...document.querySelectorAll('#candidates tbody tr')]"
    record += ".map((row) => row.dataset.arch).join(' '); " + clicks % "latency_ms" + " }, 100);"
    script = f"<script>setTimeout(() => {{ {clicks % 'score'} }}, 1); {record}</script></body>"
    copy.write_text(page.read_text().replace("</body>", script))
    dom, console = browse(copy, tmp_path / "profile", "#sort=score&order=desc")
    assert console == []
    assert re.search("<title>(.*?)</title>", dom)[1].split() == by(log, lambda c: c.score)
    costs = {TINY.format(c.path): c.costs["latency_ms"] for c in log.history()}
    latencies = [costs[arch] for arch in shown_archs(dom)]
    assert latencies == sorted(latencies) != [costs[arch] for arch in by(log, lambda c: c.score)]
    assert re.search(r'<th data-key="latency_ms"[^>]*aria-sort="ascending"', dom)


def test_the_table_leaves_out_columns_that_are_empty_in_every_row_it_shows(tmp_path):
    # The worst of all has a name.
    scores = [1.0, *range(10, 30)]
    page = write(tmp_path, run=write_log(tmp_path, scores, initial={"all 3x3": "00-00-00-00"}))
    columns = "[...document.querySelectorAll('#candidates th')].map((th) => th.dataset.key)"
    show = "(() => { const rows = document.querySelector('#rows'); rows.value = %d;"
    show += f" rows.dispatchEvent(new Event('change')); return {columns}; }})()"
    with Browser(tmp_path / "profile", page.as_uri()) as browser:
        few, all_rows = browser.run(show % 20), browser.run(show % 21)
    assert few == ["score", "yaml", "arch", "backbone_flops", "latency_ms", "bbox/AP50", "generation", "seconds"]
    assert all_rows == [*few[:3], "name", *few[3:]]


def test_a_table_without_a_row_has_no_columns(tmp_path):
    dom, console = browse(write(tmp_path, run=write_log(tmp_path, [None])), tmp_path / "profile")
    table = re.search('<table id="candidates">(.*?)</table>', dom)[1]
    assert console == [] and "<th " not in table and table.count("<td") == 1
    assert "No candidate with a score yet." in table


@pytest.mark.parametrize("width", [1280, 390])
def test_the_arch_stays_in_view_while_the_table_scrolls_sideways(tmp_path, width):
    log = SearchLog(str(tmp_path), LARGE, {"space": "1.3G", "metric": "bbox/AP"})
    metrics = {f"bbox/AP-{name}": 1.0 for name in "abcdefghijklmnopqrstuvwxyz"}
    log.append(Candidate((0,) * LARGE.num_blocks, score=1.0, metrics=metrics))
    log.close()
    place = "(() => { const box = document.querySelector('#top .scroll'); box.scrollLeft = 9999;"
    place += " const arch = box.querySelector('td.stays').getBoundingClientRect(), view = box.getBoundingClientRect();"
    place += " return [box.scrollLeft, arch.left - view.left, arch.width / view.width]; })()"
    with Browser(tmp_path / "profile", write(tmp_path, run=log).as_uri()) as browser:
        browser("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        scrolled, left, share = browser.run(place)
    assert scrolled > 0 and abs(left) <= 1
    # Room is left for what is scrolled to.
    assert share < 0.6


@pytest.mark.parametrize("refused", [False, True])
def test_the_copy_button_puts_the_yaml_on_the_clipboard(log, page, tmp_path, refused):
    yaml = f'MODEL: {{DETNAS: {{ARCH: "{TINY.format(log.best()[0].path)}"}}}}'
    with Browser(tmp_path, page.as_uri()) as browser:
        browser("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        if refused:
            # As browsers do without the permission.
            browser.run("navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')); 0")
        browser.click("#candidates tbody tr button.copy")
        assert browser.run("navigator.clipboard.readText()") == yaml
        assert browser.run("document.querySelector('#copied').textContent") == f"Copied: {yaml}"


def test_every_colour_of_a_search_is_in_the_style_for_light_and_dark(page):
    text = page.read_text()
    assert all(text.count(f"--s{i}:{c};") == 1 for i, pair in enumerate(SEARCH_COLOURS) for c in pair)
