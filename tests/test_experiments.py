"""The studies of experiments/: their files import and their command lines parse, their configs load. No study runs."""

import importlib
import json
from pathlib import Path

import pytest

from detnas.config.load import load_config

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "experiments"
FILES = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_and_its_command_line_parses(name, monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module(name)
    if hasattr(module, "parser"):
        with pytest.raises(SystemExit) as end:
            module.parser().parse_args(["--help"])
        assert end.value.code == 0 and f"experiments/{name}.py" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(FOLDER.glob("configs/*.yaml")), ids=lambda path: path.name)
def test_a_config_loads_and_its_base_is_there(path):
    assert load_config(str(path)).DATASETS.TRAIN or path.name.startswith("Base-")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_a_table_can_be_read(path):
    assert json.loads(path.read_text())


def test_the_readme_names_every_file():
    words = (FOLDER / "README.md").read_text()
    names = [path.name for path in FOLDER.iterdir() if path.suffix in (".py", ".json")]
    assert [name for name in names if f"`{name}`" not in words] == []
