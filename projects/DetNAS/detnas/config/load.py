"""Loads the config of a file with overrides as it is written, not yet fitted to data and machine."""

import contextlib
import difflib
import functools
import importlib.util
import operator
import os

import yaml

from detnas.errors import UserError

from .keys import add_detnas_config, quote_arch

#: of other packages: functions that add keys to a config, fit it, and say whether it uses them
_packages = []


def register_config(add_keys, fit, uses):
    """
    Let a package beside this one have config keys of its own.

    Args:
        add_keys: called with a config of Detectron2 to add its keys, in place.
        fit: called with a loaded config to set what follows from other settings, in place. Twice does no harm.
        uses: whether a config needs the package's keys.
    """
    _packages.append((add_keys, fit, uses))


def key_adders(cfg):
    """Package -> function that adds its keys: this one, and those that a config uses."""
    adders = [add_detnas_config, *(add_keys for add_keys, _, uses in _packages if uses(cfg))]
    return {add_keys.__module__.partition(".")[0]: add_keys for add_keys in adders}


def without_unused(cfg):
    """A copy of a config without the keys of packages that it does not use: who reads it need not import them."""
    known, copy = _detectron2_default(), cfg.clone()
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


def load_config(config_file, opts=(), quick=False):
    """
    Args:
        config_file: a file of PathManager; None or "" for the default values.
        opts: KEY VALUE overrides.
        quick: for a look at a config, without waiting for Detectron2 where that can be, see :func:`quick_default`.

    Raises:
        UserError: naming what is wrong.
    """
    # A file from elsewhere needs Detectron2's PathManager.
    cfg = quick_default() if quick and "://" not in config_file else _detectron2_default()
    add_detnas_config(cfg)
    for add_keys, _, _ in _packages:
        add_keys(cfg)
    if config_file:
        if "://" not in config_file and not os.path.isfile(config_file):
            raise UserError(f"config file {config_file} does not exist")
        try:
            # Not merge_from_file: that falls back to loading yaml which can run code.
            with _dates_as_text():
                settings = cfg.load_yaml_with_base(config_file)
            quote_arch(settings)
            cfg.merge_from_other_cfg(type(cfg)(settings))
        except yaml.YAMLError as e:
            raise UserError(f"{config_file}: not a yaml file of settings: {' '.join(str(e).split())}") from None
        except (TypeError, AttributeError):
            raise UserError(f"{config_file}: not a yaml file of settings") from None
        except KeyError as e:
            # "Non-existent config key: KEY"
            raise UserError(f"{config_file}: {_no_setting(cfg, e.args[0].rpartition(' ')[2])}") from None
        except (ValueError, AssertionError, OSError) as e:
            raise UserError(f"{config_file}: {e}") from None
    opts = list(opts)
    for word in opts[::2]:
        if word.startswith("--"):
            raise UserError(f"{word} stands among the KEY VALUE overrides; options go before them")
    if len(opts) % 2:
        raise UserError(f"config overrides come as KEY VALUE pairs; {' '.join(opts)} is an odd number of words")
    for key, value in zip(opts[::2], opts[1::2]):
        now = _settings(cfg).get(key, cfg)
        if now is cfg:
            raise UserError(_no_setting(cfg, key))
        # An arch of digits alone must not be read as a number.
        value = repr(value) if key == "MODEL.DETNAS.ARCH" else value
        try:
            cfg.merge_from_list([key, value])
        except ValueError:
            raise UserError(f"{key} {value}: a value such as {now!r} is expected") from None
    for _, fit, _ in _packages:
        fit(cfg)
    return cfg


@contextlib.contextmanager
def _dates_as_text():
    """To yaml, text such as 1112-11-21, which may be the code of a network, is a date; no setting is one."""
    constructors, date = yaml.SafeLoader.yaml_constructors, "tag:yaml.org,2002:timestamp"
    before = constructors[date]
    constructors[date] = yaml.SafeLoader.construct_yaml_str
    try:
        yield
    finally:
        constructors[date] = before


def apply_settings(cfg, settings):
    """Set keys of a config, in place: {key: value}, as :meth:`detnas.choices.Space.settings` gives them."""
    for key, value in settings.items():
        *sections, name = key.split(".")
        # Not merge_from_list, which would read an arch of digits as a number.
        functools.reduce(operator.getitem, sections, cfg)[name] = value


def _settings(node, prefix=""):
    """{KEY: value} of all settings of a config, by their full keys."""
    found = {}
    for key, value in node.items():
        found.update(_settings(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found


def _no_setting(cfg, key):
    near = difflib.get_close_matches(key, _settings(cfg), n=1)
    return f"{key} is no setting{f'; did you mean {near[0]}?' if near else ''}"


def _detectron2_default():
    from detectron2.config import get_cfg

    return get_cfg()


def quick_default():
    """
    Detectron2's default values, read without importing Detectron2, whose package imports torch: that takes seconds.
    For a look at a config; what builds something wants Detectron2's own type of config.
    """
    from fvcore.common.config import CfgNode

    (folder,) = importlib.util.find_spec("detectron2").submodule_search_locations
    file = os.path.join(folder, "config", "defaults.py")
    with open(file) as f:
        source = f.read().replace("from .config import CfgNode as CN", "")
    names = {"CN": CfgNode}
    exec(compile(source, file, "exec"), names)
    return names["_C"]
