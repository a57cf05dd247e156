"""Arguments of the scripts. Imports fast, and makes Ctrl-C print "Stopped.", also during later imports."""

import argparse
import os
import sys

from detnas.files import shipped_configs

#: what runs without ``--config-file``: the paper's small supernet, with FPN on COCO
DEFAULT_CONFIG = os.path.join("configs", "COCO", "supernet_fpn_300M.yaml")


def _show(kind, error, trace):
    if issubclass(kind, KeyboardInterrupt):
        print("Stopped.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _show


def config_file(name):
    """Path of a config. ``configs/...`` means the project's file if the working directory has no such file."""
    shipped = os.path.join(os.path.dirname(shipped_configs()), name)
    return shipped if name.startswith("configs") and not os.path.exists(name) and os.path.exists(shipped) else name


def positive(text):
    """Read an integer. Raises ArgumentTypeError below 1."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return int(text)


def argument_parser(description=None):
    """Parser with the arguments of Detectron2's ``default_argument_parser``, and ``--cpu-processes``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config-file", default=DEFAULT_CONFIG, type=config_file, metavar="FILE", help=f"by default {DEFAULT_CONFIG}"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR")
    parser.add_argument("--eval-only", action="store_true", help="evaluate, train and search nothing")
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="GPUs of each machine")
    parser.add_argument("--num-machines", type=int, default=1, metavar="N")
    parser.add_argument("--machine-rank", type=int, default=0, metavar="K", help="number of this machine, from 0")
    # A free port each time: two runs on one machine do not clash. Several machines need a URL anyway.
    parser.add_argument("--dist-url", default="auto", metavar="URL", help="tcp://HOST:PORT, for several machines")
    parser.add_argument(
        "--cpu-processes", type=int, default=1, metavar="N", help="processes (gloo) on a machine without a GPU"
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="settings over the config's")
    return parser
