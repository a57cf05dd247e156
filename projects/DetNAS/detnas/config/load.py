"""Loads the config of a file with overrides as it is written, not yet fitted to data and machine."""

import datetime
import difflib
import importlib.util
import os

import yaml

from .keys import add_detnas_config, quote_arch

#: what other packages add: functions of a config that add keys, and that set what follows from others
_added, _fitted = [], []


def register_config(add_keys, fit):
    """
    Let a package beside this one have config keys of its own.

    Args:
        add_keys: called with a config of Detectron2 to add its keys, in place.
        fit: called with a loaded config to set what follows from other settings, in place. Twice does no harm.
    """
    _added.append(add_keys)
    _fitted.append(fit)


def load_config(config_file, opts=(), quick=False):
    """
    Args:
        config_file: a file of PathManager; None or "" for the default values.
        opts: KEY VALUE overrides.
        quick: for a look at a config, without waiting for Detectron2 where that can be, see :func:`quick_default`.

    Raises:
        FileNotFoundError, KeyError, ValueError: naming what is wrong.
    """
    # A file from elsewhere needs Detectron2's PathManager.
    cfg = quick_default() if quick and "://" not in config_file else _detectron2_default()
    for add_keys in (add_detnas_config, *_added):
        add_keys(cfg)
    if config_file:
        if "://" not in config_file and not os.path.isfile(config_file):
            raise FileNotFoundError(f"config file {config_file} does not exist")
        try:
            # Not merge_from_file: that falls back to loading yaml which can run code.
            settings = cfg.load_yaml_with_base(config_file)
            quote_arch(settings)
            _dates_as_text(settings)
            cfg.merge_from_other_cfg(type(cfg)(settings))
        except yaml.YAMLError as e:
            raise ValueError(f"{config_file}: not a yaml file of settings: {' '.join(str(e).split())}") from None
        except (TypeError, AttributeError):
            raise ValueError(f"{config_file}: not a yaml file of settings") from None
        except KeyError as e:
            # "Non-existent config key: KEY"
            raise ValueError(f"{config_file}: {_no_setting(cfg, e.args[0].rpartition(' ')[2])}") from None
        except (ValueError, AssertionError, OSError) as e:
            raise ValueError(f"{config_file}: {e}") from None
    opts = list(opts)
    for word in opts[::2]:
        if word.startswith("--"):
            raise ValueError(f"{word} stands among the KEY VALUE overrides; options go before them")
    if len(opts) % 2:
        raise ValueError(f"config overrides come as KEY VALUE pairs; {' '.join(opts)} is an odd number of words")
    for key, value in zip(opts[::2], opts[1::2]):
        now = _settings(cfg).get(key, cfg)
        if now is cfg:
            raise ValueError(_no_setting(cfg, key))
        # An arch of digits alone must not be read as a number.
        value = repr(value) if key == "MODEL.DETNAS.ARCH" else value
        try:
            cfg.merge_from_list([key, value])
        except ValueError:
            raise ValueError(f"{key} {value}: a value such as {now!r} is expected") from None
    for fit in _fitted:
        fit(cfg)
    return cfg


def _dates_as_text(settings):
    """Undo, in place, that yaml takes a text such as 1112-11-21, which may be the code of a network, for a date."""
    for key, value in settings.items():
        if isinstance(value, dict):
            _dates_as_text(value)
        elif isinstance(value, datetime.date):
            settings[key] = value.isoformat()


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
