"""SP-NAS's settings beside those of DetNAS, in the configs that runs leave."""

import pytest
import yaml
from detectron2.config import get_cfg

from detnas import add_detnas_config
from detnas.config.load import load_config, without_unused
from detnas.errors import UserError
from detnas.export.network import load_network, load_network_config, write_network
from spnas import add_spnas_config

SERIAL = ["MODEL.BACKBONE.NAME", "build_spnas_fpn_backbone", "MODEL.SPNAS.CODE", "1-2-1"]


def test_a_serial_network_is_saved_with_settings_of_spnas_and_one_of_detnas_without():
    cfg = load_config("", SERIAL)
    saved = without_unused(cfg)
    assert (saved.MODEL.SPNAS, saved.SEARCH) == (cfg.MODEL.SPNAS, cfg.SEARCH) and "TIMM" not in saved.MODEL
    saved = yaml.safe_load(without_unused(load_config("", ["MODEL.SPNAS.CODE", "1-2-1"])).dump())
    assert "SPNAS" not in saved["MODEL"] and "CHILDREN" not in saved["SEARCH"]
    default = get_cfg()
    add_detnas_config(default)
    assert saved == yaml.safe_load(default.dump())


def test_an_exported_serial_network_says_how_another_project_reads_it(tmp_path, pytestconfig):
    config = str(pytestconfig.rootpath / "configs" / "SPNAS" / "Base-FPN.yaml")
    cfg = load_network_config(config, [*SERIAL, "MODEL.SPNAS.BLOCK", "basic"])
    write_network(str(tmp_path), cfg, load_network(cfg).state_dict(), "A test.")
    text = (tmp_path / "model.yaml").read_text()
    imports = "from detnas import add_detnas_config; from spnas import add_spnas_config"
    assert f"# `{imports}` and add_detnas_config(cfg), add_spnas_config(cfg) come before" in text
    cfg = get_cfg()
    add_detnas_config(cfg)
    add_spnas_config(cfg)
    cfg.merge_from_file(str(tmp_path / "model.yaml"))
    assert cfg.MODEL.RPN.IN_FEATURES == ["p2", "p3", "p4", "p5"]


@pytest.mark.parametrize("code, words", [
    ("1112-11-21", "MODEL.SPNAS.CODE 1112-11-21 is a date to yaml: put quotes around it"),
    ("1111-21-11", "what looks like a date, such as the code 1111-21-11, needs quotes"),
    ("1121", "MODEL.SPNAS.CODE 1121 is a number to yaml: put quotes around it"),
])
def test_a_code_that_looks_like_a_date_or_a_number_needs_quotes_in_a_file(tmp_path, code, words):
    file = tmp_path / "leaf.yaml"
    (tmp_path / "base.yaml").write_text(f"MODEL: {{SPNAS: {{CODE: {code}}}}}\n")
    file.write_text("_BASE_: base.yaml\n")
    with pytest.raises(UserError) as caught:
        load_config(str(file))
    assert str(caught.value).startswith(f"{file}: ") and str(caught.value).endswith(words)
    (tmp_path / "base.yaml").write_text(f"MODEL: {{SPNAS: {{CODE: '{code}'}}}}\n")
    assert load_config(str(file)).MODEL.SPNAS.CODE == code
    assert load_config("", ["MODEL.SPNAS.CODE", code]).MODEL.SPNAS.CODE == code


@pytest.mark.parametrize("code", ["1112-11-21", "1111-21-11", "111-2111-211111-211"])
def test_a_config_that_was_saved_has_the_same_code(tmp_path, code):
    (tmp_path / "a.yaml").write_text(load_config("", [*SERIAL, "MODEL.SPNAS.CODE", code]).dump())
    assert load_config(str(tmp_path / "a.yaml")).MODEL.SPNAS.CODE == code
