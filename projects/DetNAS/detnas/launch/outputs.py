"""Files in the folder of a run: weights, the arch that a search found, metrics of a training."""

import contextlib
import hashlib
import json
import os
from typing import Dict, List, Optional, Sequence, Tuple

from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager

from detnas.choices import Candidate
from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.errors import UserError
from detnas.space import CUSTOM_SPACE, SearchSpace
from detnas.zoo import SUPERNET, resolve_arch

#: files of a search: the winner's config, and the winner's network with the supernet's weights
BEST_CONFIG, BEST_WEIGHTS = "best.yaml", "best.pth"
#: files of an exported network
EXPORTED_CONFIG, EXPORTED_WEIGHTS = "model.yaml", "model.pth"


def has_weights_beside(cfg: CfgNode, opts: Sequence[str]) -> bool:
    """Whether a config is an exported one or a search's best.yaml, and ``opts`` names no other weights."""
    return (cfg.SEARCH.WINNER or cfg.MODEL.WEIGHTS == EXPORTED_WEIGHTS) and "MODEL.WEIGHTS" not in opts


def network_weights(config_file: str, cfg: CfgNode, opts: Sequence[str]) -> str:
    """
    Return the weights file of a config's network: beside an exported config or a search's best.yaml, else
    ``MODEL.WEIGHTS`` of ``opts``, else ``model_final.pth`` in the output folder. Raises a UserError if it is missing.
    """
    if has_weights_beside(cfg, opts):
        path = os.path.join(os.path.dirname(config_file), cfg.MODEL.WEIGHTS)
        written = "search_net.py writes it when the search has ended"
        hint = written if cfg.SEARCH.WINNER else "the weights of an exported config lie beside it"
        problem = f"{path} does not exist; {hint}"
    else:
        given = cfg.MODEL.WEIGHTS if "MODEL.WEIGHTS" in opts else ""  # a config names what a training starts from
        path = given or os.path.join(cfg.OUTPUT_DIR, "model_final.pth")
        problem = f"no trained network at {path}: train it with train_net.py, or give MODEL.WEIGHTS on the command line"
    if not PathManager.isfile(path):
        raise UserError(problem)
    return path


def weights_id(path: Optional[str]) -> str:
    """Return a checkpoint's sha256, which a search's log has in its header, or "random weights" for None."""
    if not path:
        return "random weights"
    digest = hashlib.sha256()
    with PathManager.open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def read_arch(arch: str, space: SearchSpace, source: str = "MODEL.DETNAS.ARCH") -> Candidate:
    """Return the path in a space of an arch, published name or best.yaml. UserErrors begin with ``source``."""
    if not arch.endswith((".yaml", ".yml")):
        return resolve_arch(arch, space, source)
    try:
        found, path = read_single_arch(arch)
    except UserError as e:
        raise UserError(f"{source}: {e}") from None
    if found != space:
        raise UserError(f"{source}: {arch} is of {describe_space(found)}; this config is of {describe_space(space)}")
    return path


def read_single_arch(path: str) -> Tuple[SearchSpace, Candidate]:
    """Return space and path of a single network's config, such as best.yaml. Raises a UserError if it has none."""
    if not PathManager.isfile(path):
        raise UserError(f"{path} does not exist; search_net.py writes it")
    cfg = load_config(path)
    if cfg.MODEL.DETNAS.ARCH == SUPERNET:
        raise UserError(f"{path} holds no MODEL.DETNAS.ARCH of a single network")
    space = config_space(cfg)
    return space, resolve_arch(cfg.MODEL.DETNAS.ARCH, space, f"{path}: MODEL.DETNAS.ARCH")


def read_metrics(folder: str) -> List[Dict]:
    """Return the lines of a folder's ``metrics.json`` as dicts, in file order, or [] without the file."""
    file = os.path.join(folder, "metrics.json")
    if not PathManager.isfile(file):
        return []
    lines = []
    with PathManager.open(file, "rb") as f:
        for line in f:
            with contextlib.suppress(ValueError, RecursionError):  # a killed process leaves half a line
                lines.append(json.loads(line))
    return [line for line in lines if isinstance(line, dict)]


def describe_space(space: SearchSpace) -> str:
    """Describe a space in words. "custom" comes with depths, channels and ops."""
    if space.name != CUSTOM_SPACE:
        return f'space "{space.name}"'
    depths, ops = "-".join(map(str, space.stage_depths)), ", ".join(space.ops)
    return f'space "custom" ({depths} blocks, {space.stage_channels} channels, {ops})'
