"""Loads configs from files and overrides, before they are fitted to data and machine."""

import datetime
import difflib
import functools
import importlib
import operator
import os
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

import yaml
from fvcore.common.config import CfgNode

from detnas.choices import Space
from detnas.errors import UserError

from .keys import add_detnas_config, config_space


class ConfigExtension(NamedTuple):
    """What another package adds to configs."""

    add_keys: Callable[[CfgNode], None]  #: adds the package's keys to a Detectron2 config, in place
    fit: Callable[[CfgNode], None]  #: sets derived settings of a loaded config, in place; may run twice
    uses: Callable[[CfgNode], bool]  #: whether a config needs the package's keys
    builders: str  #: module that registers the package's networks with Detectron2
    space: Callable[[CfgNode], Optional[Space]] = lambda cfg: None  #: space of a config's candidates, if it has one


_extensions = []


def register_config(*args) -> None:
    """Register the config keys of another package. Arguments as for :class:`ConfigExtension`."""
    _extensions.append(ConfigExtension(*args))


def key_adders(cfg: CfgNode) -> Dict[str, Callable]:
    """Package -> function that adds its keys, for this package and those that a config uses."""
    adders = [add_detnas_config, *(extension.add_keys for extension in _extensions if extension.uses(cfg))]
    return {add_keys.__module__.partition(".")[0]: add_keys for add_keys in adders}


def without_unused(cfg: CfgNode) -> CfgNode:
    """Copy a config without the keys of unused packages, so that its readers need not import them."""
    from detectron2.config import get_cfg

    known, copy = get_cfg(), cfg.clone()
    for add_keys in key_adders(cfg).values():
        add_keys(known)
    copy.defrost()
    _remove_unknown(copy, known)
    return copy


def _remove_unknown(node, known):
    for key in list(node):
        if key not in known:
            del node[key]
        elif isinstance(node[key], dict):
            _remove_unknown(node[key], known[key])


_ENDLESS = "it stands on itself, by _BASE_ or by an anchor, or is too deep"


def load_config(config_file: Optional[str], opts: Sequence[str] = ()) -> CfgNode:
    """Load a file of PathManager (None or "": defaults) with KEY VALUE overrides. Raises UserError for any mistake."""
    from detectron2.config import get_cfg

    cfg = get_cfg()
    add_detnas_config(cfg)
    for extension in _extensions:
        extension.add_keys(cfg)
    if config_file:
        settings = _read_yaml(type(cfg), config_file)
        try:
            _quote_texts(settings, cfg)
            cfg.merge_from_other_cfg(type(cfg)(settings))
        except RecursionError:
            raise UserError(f"{config_file}: {_ENDLESS}") from None
        except (TypeError, AttributeError):
            raise UserError(f"{config_file}: not a yaml file of settings") from None
        except KeyError as e:  # "Non-existent config key: KEY"
            raise UserError(f"{config_file}: {_no_setting(cfg, e.args[0].rpartition(' ')[2])}") from None
        except (ValueError, AssertionError) as e:
            raise UserError(f"{config_file}: {e}") from None
    for key, value in _pairs(opts):
        now = _settings(cfg).get(key, cfg)
        if now is cfg:
            raise UserError(_no_setting(cfg, key))
        try:
            cfg.merge_from_list([key, quoted(value) if isinstance(now, str) else value])
        except ValueError:
            raise UserError(f"{key} {value}: a value such as {now!r} is expected") from None
    for extension in _extensions:
        extension.fit(cfg)
    for module in builders(cfg):
        importlib.import_module(module)
    return cfg


def builders(cfg: CfgNode) -> List[str]:
    """Modules of other packages. Their import registers what a config needs."""
    return [extension.builders for extension in _extensions if extension.uses(cfg)]


def candidate_space(cfg: CfgNode) -> Any:
    """Space of a config's candidates: from another package, else from ``MODEL.DETNAS``."""
    return next(filter(None, (extension.space(cfg) for extension in _extensions)), None) or config_space(cfg)


def with_settings(cfg: CfgNode, settings: Mapping[str, Any]) -> CfgNode:
    """
    Copy a config, not frozen, and change settings as of :meth:`detnas.choices.Space.settings` and all that derive from
    them. KEY.NUMBER is an item of a list.
    """
    cfg = cfg.clone()
    cfg.defrost()
    for key, value in settings.items():
        *sections, name = key.split(".")
        section = functools.reduce(operator.getitem, sections, cfg)  # merge_from_list reads 0000 as a number
        section[int(name) if isinstance(section, list) else name] = value
    for extension in _extensions:
        extension.fit(cfg)
    return cfg


def image_settings(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """The settings that say how images are read."""
    return {key: value for key, value in settings.items() if key.startswith("INPUT.")}


def output_folder(config_file: Optional[str], opts: Sequence[str] = ()) -> str:
    """``OUTPUT_DIR`` of a config. Fast: it needs no import of Detectron2 and checks no other setting."""
    given = dict(_pairs(opts))
    settings = _read_yaml(CfgNode, config_file) if config_file else {}
    return given.get("OUTPUT_DIR") or settings.get("OUTPUT_DIR") or "./output"


def _read_yaml(node, config_file):
    """Settings of a file and its ``_BASE_`` as a dict. The class ``node`` opens files."""
    if "://" not in config_file and not os.path.isfile(config_file):
        raise UserError(f"config file {config_file} does not exist")
    try:
        settings = node.load_yaml_with_base(config_file)  # merge_from_file falls back to yaml that can run code
    except yaml.YAMLError as e:
        raise UserError(f"{config_file}: not a yaml file of settings: {' '.join(str(e).split())}") from None
    except RecursionError:
        raise UserError(f"{config_file}: {_ENDLESS}") from None
    except (TypeError, AttributeError):
        settings = None
    except (UnicodeDecodeError, AssertionError, OSError) as e:
        raise UserError(f"{config_file}: {e}") from None
    except ValueError as e:  # "month must be in 1..12"
        hint = "what looks like a date, such as the code 1111-21-11, needs quotes"
        raise UserError(f"{config_file}: {e}: {hint}") from None
    if not isinstance(settings, dict):
        raise UserError(f"{config_file}: not a yaml file of settings")
    return settings


def _pairs(opts):
    """[(KEY, VALUE)] of overrides."""
    for word in opts[::2]:
        if word.startswith("--"):
            raise UserError(f"{word} stands among the KEY VALUE overrides; options go before them")
    if len(opts) % 2:
        raise UserError(f"config overrides come as KEY VALUE pairs; {' '.join(opts)} is an odd number of words")
    return list(zip(opts[::2], opts[1::2]))


def quoted(text: str) -> str:
    """Quote a text for a config, which reads the bare arch 0000 as a number."""
    return text if text.startswith(("'", '"')) else repr(text)


def _quote_texts(settings, known, prefix=""):
    """Quote the texts of a config, in place. Raises UserError for missing and unquoted values."""
    for key, value in settings.items():
        default = known.get(key)
        if isinstance(default, dict):
            if not isinstance(value, dict):
                raise UserError(f"{prefix}{key} {value}: it holds settings, and has no value")
            _quote_texts(value, default, f"{prefix}{key}.")
        elif value is None and default is not None:
            raise UserError(f"{prefix}{key} has no value")
        elif isinstance(default, str) and isinstance(value, (int, float, datetime.date)):
            kind = "date" if isinstance(value, datetime.date) else "number"
            raise UserError(f"{prefix}{key} {value} is a {kind} to yaml: put quotes around it")
        elif isinstance(default, str) and isinstance(value, str):
            settings[key] = quoted(value)


def _settings(node, prefix=""):
    """All settings of a config: full key -> value."""
    found = {}
    for key, value in node.items():
        found.update(_settings(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found


def _no_setting(cfg, key):
    near = difflib.get_close_matches(key, _settings(cfg), n=1)
    return f"{key} is no setting{f'; did you mean {near[0]}?' if near else ''}"
