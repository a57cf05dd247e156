"""Exports a trained network as two files for any Detectron2 project: a complete config and the weights."""

import logging
import os

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.file_io import PathManager

from detnas.config.keys import config_space
from detnas.config.load import key_adders, load_config, quoted, without_unused
from detnas.errors import UserError
from detnas.files import read_text, write_atomically, write_text
from detnas.launch.outputs import EXPORTED_CONFIG, EXPORTED_WEIGHTS, read_arch
from detnas.launch.setup import norm_nodes, register_datasets, set_number_of_classes
from detnas.modeling.builders import build_network
from detnas.modeling.weights import load_weights
from detnas.zoo import SUPERNET

logger = logging.getLogger(__name__)


def load_network_config(config_file, opts=()):
    """
    The config of one network on the CPU, with its class names where they are known. UserError for a supernet.

    Args:
        config_file: of a training or an export. ``MODEL.DETNAS.ARCH`` may be a search's best.yaml.
        opts: KEY VALUE overrides.
    """
    cfg = load_config(config_file, opts)
    detnas = cfg.MODEL.DETNAS
    if "detnas" in cfg.MODEL.BACKBONE.NAME:
        if detnas.ARCH == SUPERNET:
            raise UserError(
                f'{config_file}: MODEL.DETNAS.ARCH is "{SUPERNET}", which is no single network: name an arch or a '
                "best.yaml there"
            )
        space = config_space(cfg)
        detnas.ARCH = space.format(read_arch(detnas.ARCH, space))
    cfg.MODEL.DEVICE = "cpu"
    use_plain_norms(cfg)
    if not detnas.CLASSES:
        try:
            detnas.CLASSES = list(register_datasets(cfg) or ())
        except UserError as e:
            # Detectron2 knows the classes of its own data sets without their files.
            names = [name for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST) if name in DatasetCatalog.list()]
            known = (MetadataCatalog.get(name).get("thing_classes") for name in names)
            detnas.CLASSES = list(next(filter(None, known), ()))
            if detnas.CLASSES:
                set_number_of_classes(cfg, len(detnas.CLASSES))
            else:
                logger.warning(f"No class names, and their number is the config's: {e}")
    return cfg


def use_plain_norms(cfg):
    """Replace SyncBN by BN, in place. In eval mode both compute the same, and a CPU cannot trace SyncBN."""
    for node in norm_nodes(cfg):
        if node.NORM in ("SyncBN", "naiveSyncBN"):
            node.NORM = "BN"
    # RetinaNet has a BN for each level, like SyncBN, but one naiveSyncBN for all levels.
    if cfg.MODEL.RETINANET.NORM == "SyncBN":
        cfg.MODEL.RETINANET.NORM = "BN"


def portable_config(cfg):
    """A copy of :func:`load_network_config`'s config that names nothing of this machine."""
    portable, default = cfg.clone(), load_config(None)
    portable.defrost()
    # These say how the network was found, and name files of this machine.
    for key in ("DATASETS", "SEARCH", "SUPERNET"):
        portable[key] = default[key]
    # Detectron2's own data sets have one name everywhere; other names hold a path, or are one.
    for key in ("TRAIN", "TEST"):
        names = cfg.DATASETS[key]
        portable.DATASETS[key] = tuple(name for name in names if name.isidentifier() and not os.path.exists(name))
    portable.OUTPUT_DIR = default.OUTPUT_DIR
    portable.MODEL.WEIGHTS = EXPORTED_WEIGHTS
    if cfg.MODEL.DETNAS.ARCH.isdigit():
        # Detectron2 would read an arch of one stage as a number.
        portable.MODEL.DETNAS.ARCH = quoted(cfg.MODEL.DETNAS.ARCH)
    return without_unused(portable)


#: marks the second line of a written config
_READING = "come before reading this file."


def write_network(folder, cfg, state_dict, about):
    """
    Write ``model.yaml``, with ``about`` as its first line, and ``model.pth`` into a folder.

    Args:
        cfg: from :func:`load_network_config`.
        state_dict: of its model; all names must match.

    Returns:
        config and model as read back, on the CPU in eval mode. UserError if one of the files is of something else.
    """
    PathManager.mkdirs(folder)
    config_file, weights = (os.path.join(folder, name) for name in (EXPORTED_CONFIG, EXPORTED_WEIGHTS))
    ours = PathManager.isfile(config_file) and _READING in read_text(config_file, PathManager)
    for file in (config_file, weights):
        if not ours and PathManager.isfile(file):
            raise UserError(f"{file} is of something else, and would be written over: give another folder")
    text = f"# {about}\n# {_reading(cfg)} {_READING}\n{portable_config(cfg).dump()}"
    # First: it marks the folder as ours.
    write_text(config_file, text, PathManager)
    state = {"model": {name: value.detach().cpu() for name, value in state_dict.items()}}
    write_atomically(PathManager, weights, lambda f: torch.save(state, f))
    read = load_config(config_file)
    return read, load_network(read, weights)


def _reading(cfg):
    """The imports and calls that another project needs before it reads the config."""
    adders = {package: add_keys.__name__ for package, add_keys in key_adders(cfg).items()}
    imports = "; ".join(f"from {package} import {name}" for package, name in adders.items())
    return f"`{imports}` and {', '.join(f'{name}(cfg)' for name in adders.values())}"


def load_network(cfg, weights=None):
    """The model of a config in eval mode, with all weights from a file, or random ones by the seed."""
    torch.manual_seed(max(cfg.SEED, 0))
    model = build_network(cfg).eval()
    if weights is not None:
        load_weights(model, weights)
    return model.requires_grad_(False)
