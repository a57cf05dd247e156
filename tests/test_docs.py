"""
The documentation: every command in it runs here, or says in the page why it cannot; every link leads somewhere; every
setting is explained.

The rule. A command is a line of an indented block of a page (``doc_pages.py``). It is *marked* if its own comment says
"needs ..." or how many minutes or hours it takes, or if the paragraph that introduces its block says "needs ...":
ImageNet, COCO, VOC, EuroCity, GPUs, the network, a cluster, machines, weights, hours, a clone. Benchmarks and the pages
of experiments/ are always marked. What is not marked runs here, page by page in the order of the page, in a folder that
looks like a clone, on generated images: as it stands, but for SUBSTITUTIONS, OPTIONS, SMALL and DEFAULTS. What is
marked is parsed: the script is there, its parser knows the options, the config is there and takes the KEY VALUE
overrides, the make target exists.
"""

import argparse
import ast
import contextlib
import os
import re
import runpy
import shutil
import sys
from pathlib import Path

import doc_pages
import pytest
import torch
from base_rcnn_fpn import BASE_RCNN_FPN
from detectron2.config import get_cfg
from doc_pages import GUIDE, PAGES, ROOT, SPNAS_GUIDE
from released_reference import Network
from stand_in import use_root
from toy_runs import SHORT, own_loggers

from detnas.config.load import load_config

# The modules that a command runs have been imported before.
pytestmark = pytest.mark.filterwarnings("ignore:.* found in sys.modules after import:RuntimeWarning")

#: words of a page that stand for the reader's own, and what they are here
SUBSTITUTIONS = {
    "CONFIG": "configs/demo/toy_2_train_supernet.yaml",
    "FOLDER": "output/demo/2_supernet",
    "ARCH": "00-12-33-21",
    "FILE": "shown.csv",
    "RELEASED.pth": "released.pth",
    "OURS.pth": "ours.pth",
}
#: trainings and searches are this small, whatever the command says; all else that it says stays
SMALL = {"SOLVER.MAX_ITER": 1, "SOLVER.STEPS": "[]", "SEARCH.GENERATIONS": 2, "SEARCH.CANDIDATE_ITERS": 1}
SMALL |= {"SEARCH.POPULATION": 2, "SEARCH.NUM_PARENTS": 1, "SEARCH.NUM_MUTATE": 1, "SEARCH.NUM_CROSS": 0}
#: and these hold where the command says nothing
DEFAULTS = {**SHORT, "SEARCH.RECALIBRATION_IMAGES": 4, "SEARCH.CHILDREN": 2}
#: This page trains and searches in a space of the paper, which takes many times as long as the smallest one.
OWN_DATA = {"MODEL.DETNAS.SPACE": "tiny"}
#: Options with another value. Processes of their own take most of the time; tests/training/test_processes.py and
#: tests/search start two. The training set has 8 images here.
OPTIONS = {"--cpu-processes": "1", "--images": "3"}
SCRIPTS = ("train_net.py", "search_net.py")
#: what an installed command runs
INSTALLED = {"find-detector": ["python", "-m", "find_detector"], "detnas-train": ["python", "train_net.py"]}
#: test_export_docs.py runs the snippets of this page and the commands of these scripts, and looks at what they leave.
RUN_ELSEWHERE = {"docs/winner.md": ("tools/export_model.py", "demo/predict.py")}


class Parsed(Exception):
    """A command's line was parsed; its arguments."""


def python_words(command):
    """The words behind ``python``, placeholders replaced; None if it is another program."""
    words = INSTALLED.get(command.words[0], command.words[:1]) + command.words[1:]
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    if words[0] not in ("python", ".venv/bin/python"):
        return None
    folder = SUBSTITUTIONS["FOLDER"] + "/"
    words = [SUBSTITUTIONS.get(word, word).replace("FOLDER/", folder) for word in words[1:]]
    return [OPTIONS.get(before, word) for before, word in zip(["", *words], words)]


def runs(command):
    """Whether a test must run it."""
    return not command.marked and "python benchmarks/" not in command.text and "experiments/" not in command.page


def small(page, words):
    """A training's or search's command line of a page with its settings made small."""
    defaults = {**DEFAULTS, **(OWN_DATA if page == "docs/own_data.md" else {})}
    given = {key: str(value) for key, value in defaults.items() if key not in words}
    given.update({key: str(value) for key, value in SMALL.items()})
    return [*words, *(word for pair in given.items() for word in pair)]


def execute(words, patch):
    """Do in this process, in the working folder, what Python does with these words."""
    # The step that runs is told of a signal; a test is not.
    patch.setattr("signal.signal", lambda *_: None)
    if words[0] == "-m":
        patch.setattr(sys, "argv", words[1:])
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        assert Path(words[0]).is_file(), f"there is no {words[0]}"
        patch.setattr(sys, "argv", words)
        patch.syspath_prepend(os.path.dirname(os.path.abspath(words[0])))
        runpy.run_path(words[0], run_name="__main__")


@contextlib.contextmanager
def told(command):
    """Name the command with what goes wrong."""
    try:
        yield
    except SystemExit as e:
        assert not e.code, f"{command}: ended with {e.code}"
    except Exception as e:
        raise AssertionError(f"{command}: {type(e).__name__}: {e}") from e


def run(command):
    words = python_words(command)
    assert words, f"{command}: neither run nor marked; only commands of Python can run"
    if words[0] in SCRIPTS and not {"--list", "--best", "--front", "--report"} & set(words):
        words = small(command.page, words)
    with pytest.MonkeyPatch.context() as patch, own_loggers(), told(command):
        execute(words, patch)


def check(command):
    """That a command which is not run could be: files, options and settings are there."""
    words = python_words(command)
    with pytest.MonkeyPatch.context() as patch, told(command):
        if words is None:
            CHECKS[command.words[0]](command.words)
        elif words[0] == "-m" and words[1] in ("pytest", "flake8", "isort", "mypy"):
            missing = [word for word in words[2:] if not (ROOT / word).exists()]
            assert not missing, f"{missing} do not exist"
        else:
            _parse(words, patch)


def _parse(words, patch):
    """Start a script and stop it when it has parsed its words; its config takes the overrides."""
    parse_args = argparse.ArgumentParser.parse_args

    def parse(*args, **kwargs):
        raise Parsed(parse_args(*args, **kwargs))

    patch.setattr(argparse.ArgumentParser, "parse_args", parse)
    try:
        execute(words, patch)
    except Parsed as e:
        (args,) = e.args
        if hasattr(args, "opts") and hasattr(args, "config_file"):
            load_config(args.config_file, args.opts)


def _check_make(words):
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    unknown = [word for word in words[1:] if "=" not in word and word not in targets]
    assert not unknown, f"the Makefile has no target {unknown}"


def _check_install(words):
    assert words[1:2] == ["build"] or "install" in words
    _, _, extras = (ROOT / "setup.cfg").read_text().partition("extras_require]")
    named = {name for names in re.findall(r"\[([\w,]+)\]", " ".join(words)) for name in names.split(",")}
    unknown = named - set(re.findall(r"^(\w+) =$", extras, re.MULTILINE))
    assert not unknown, f"setup.cfg has no extras {unknown}"


def _check_ray(words):
    scripts = pytest.importorskip("ray.scripts.scripts", reason="Ray is not installed")
    scripts.cli.commands[words[1]].make_context(words[1], words[2:])


CHECKS = {"make": _check_make, "uv": _check_install, "pip": _check_install, "ray": _check_ray}


README = [command for command in doc_pages.commands("README.md") if runs(command)]


def link_project(folder):
    """Let a folder look like a clone."""
    for name in ("benchmarks", "configs", "tools", "demo", "docs", "experiments", "projects", *SCRIPTS):
        (folder / name).symlink_to(ROOT / name)


@pytest.fixture(scope="module")
def clone(toy_root, tmp_path_factory):
    """A folder with everything of the project, and with the outputs of the README's commands, which have run in it."""
    folder = tmp_path_factory.mktemp("docs") / "clone"
    folder.mkdir()
    link_project(folder)
    shutil.copytree(toy_root, folder / "datasets" / "toy")
    torch.save(Network("faster_rcnn", "300M", (0,) * 20).state, folder / "released.pth")
    (folder / "Base-RCNN-FPN.yaml").write_text(BASE_RCNN_FPN)
    with inside(folder):
        for command in README:
            run(command)
    return folder


@contextlib.contextmanager
def inside(folder):
    """Work in the folder; data sets that are registered there are forgotten afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        use_root(patch, folder / "datasets")
        yield


def is_real(command):
    """Whether it reads the real images."""
    return "$DETNAS_DATA" in command.text


def runs_here(command):
    """Whether it runs with the other commands of its page."""
    elsewhere = any(script in command.text for script in RUN_ELSEWHERE.get(command.page, ()))
    return runs(command) and not is_real(command) and not elsewhere


ALL = [command for page in PAGES for command in doc_pages.commands(page)]


def test_the_commands_of_the_readme_run(clone):
    left = {str(path.relative_to(clone / "output" / "demo")) for path in (clone / "output" / "demo").rglob("*")}
    wanted = {"1_pretrain_supernet/model_final.pth", "2_supernet/search.jsonl", "2_supernet/best.yaml"}
    assert wanted | {"4_pretrain/model_final.pth", "4_retrain/model_final.pth"} <= left


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])
def test_the_commands_of_a_page_run_and_then_its_python(page, clone):
    # What the README runs is there already.
    ran = {" ".join(python_words(command)) for command in README}
    with inside(clone):
        doc_pages.write_yaml(page, clone)
        for command in filter(runs_here, doc_pages.commands(page)):
            words = " ".join(python_words(command))
            if words not in ran:
                run(command)
                ran.add(words)
        if page not in RUN_ELSEWHERE:
            doc_pages.run_snippets(page)


@pytest.mark.parametrize("command", [c for c in ALL if runs(c) and is_real(c)], ids=str)
def test_a_command_on_real_images_runs(command, clone, data_dir):
    with inside(clone):
        run(command._replace(text=command.text.replace("$DETNAS_DATA", str(data_dir))))


def test_the_conversion_prints_what_its_page_shows(clone, capsys):
    (shown,) = doc_pages.snippets("docs/recipes.md", "text")
    (command,) = (c for c in doc_pages.commands("docs/recipes.md") if "tools/convert_released.py" in c.text)
    with inside(clone):
        run(command)
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_does_not_run_could_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    link_project(tmp_path)
    doc_pages.write_yaml(page, tmp_path)
    for command in [*doc_pages.commands(page), *doc_pages.inline_commands(page)]:
        if not runs(command):
            check(command)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for target in doc_pages.links(page):
        file, _, heading = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), f"{page}: {target}"
        assert not heading or heading in doc_pages.headings(path), f"{page}: {target}"


def test_the_readme_leads_to_every_page():
    there = {(ROOT / target.partition("#")[0]).resolve() for target in doc_pages.links("README.md")}
    assert [page for page in PAGES if page != "README.md" and ROOT / page not in there] == []


def test_the_install_page_shows_the_commands_of_the_demo(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "demo")
    steps = runpy.run_path(str(ROOT / "demo" / "detnas_demo.py"))["STEPS"].values()
    shown = {" ".join(command.words[1:]) for command in doc_pages.commands("docs/install.md")}
    assert {" ".join(step.replace("--resume", "").split()) for step in steps} <= shown


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_project_that_a_page_names_is_there(page):
    folders = r"(configs|tools|demo|docs|benchmarks|experiments|tests|projects)/[\w./-]+\.(yaml|py|md|png|json)"
    named = [words for words in doc_pages.inline_code(page) if re.fullmatch(folders, words)]
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("guide", [GUIDE, SPNAS_GUIDE])
def test_the_guide_names_every_file_of_its_package(guide):
    package = (ROOT / guide).parent
    files = {path.name for path in package.rglob("*") if path.suffix in (".py", ".js", ".css", ".html")}
    named = set(doc_pages.inline_code(guide))
    assert sorted(name for name in files - named if not name.startswith("__")) == []


def keys_of(node, prefix=""):
    for key, value in node.items():
        if hasattr(value, "items"):
            yield from keys_of(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def test_every_setting_is_named_in_a_page_and_those_of_the_search_where_it_is_explained():
    own = set(keys_of(load_config(""))) - set(keys_of(get_cfg()))
    assert sorted(own - set().union(*map(doc_pages.setting_names, PAGES))) == []
    search = {key for key in own if key.startswith("SEARCH.")}
    assert sorted(search - set().union(*map(doc_pages.setting_names, ["docs/search.md", "docs/spnas.md"]))) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_a_page_names_exists(page):
    cfg = load_config("")
    nodes = {key.rpartition(".")[0] for key in keys_of(cfg)}
    assert sorted(doc_pages.setting_names(page) - set(keys_of(cfg)) - nodes) == []


@pytest.mark.parametrize("page", ["docs/search.md", "docs/training.md", "docs/spnas.md"])
def test_the_defaults_in_the_tables_are_those_of_the_config(page):
    cfg = load_config("")
    rows = re.findall(r"^\| `([A-Z][A-Z0-9_.]+)` \| ([^|]+) \|", doc_pages.read(page), re.MULTILINE)
    assert len(rows) > 5
    for key, shown in rows:
        value = cfg
        for part in key.split("."):
            value = value[part]
        shown = re.sub(r"\b(\d+)/(\d+)\b", lambda part: str(int(part[1]) / int(part[2])), shown.strip().strip("`"))
        value = ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
        assert shown == (value or "empty"), f"{page}: {key} is {value}, not {shown}"


@pytest.mark.parametrize("page", [page for page in PAGES if doc_pages.snippets(page, "yaml")])
def test_the_yaml_of_a_page_is_a_config(page, tmp_path):
    link_project(tmp_path)
    doc_pages.write_yaml(page, tmp_path)
    for text in doc_pages.snippets(page, "yaml"):
        if '"Base-RCNN-FPN.yaml"' not in text:  # Detectron2's own
            (tmp_path / "snippet.yaml").write_text(text)
            cfg = load_config(str(tmp_path / "snippet.yaml"))
            # A supernet is evaluated before its end, too; else the search warns that nobody knows of its ranking.
            if page == "docs/own_data.md" and cfg.MODEL.DETNAS.ARCH == "supernet":
                assert 0 < cfg.TEST.EVAL_PERIOD < cfg.SOLVER.MAX_ITER


def texts(source):
    """The strings of a Python source, with ... where something is filled in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)


def test_the_messages_of_the_troubleshooting_page_are_those_of_the_code():
    sources = [*(ROOT / "projects" / "DetNAS" / "detnas").rglob("*.py"), *(ROOT / script for script in SCRIPTS)]
    said = [text for path in sources for text in texts(path.read_text())]
    rows = re.findall(r"^\| ([^|]+) \|", doc_pages.read("docs/troubleshooting.md"), re.MULTILINE)
    messages = [words for row in rows for words in re.findall(r"`([^`]+)`", row) if " " in words]
    assert len(messages) > 30
    unknown = [words for words in messages if not any(_in_order(words.split("..."), text) for text in said)]
    assert unknown == []


def _in_order(parts, text):
    return re.search(".*".join(map(re.escape, (part.strip() for part in parts))), text, re.DOTALL)
