"""Fits a config to the machine: number of processes, device, batch norm."""

import logging

import torch
from detectron2.engine import DefaultTrainer
from detectron2.utils import comm

from detnas.errors import UserError

logger = logging.getLogger(__name__)


def fit_to_processes(cfg):
    """
    Batch, learning rate and iterations for the processes that there are, by Detectron2's rule: what the config says
    holds for ``SOLVER.REFERENCE_WORLD_SIZE`` GPUs. A process that takes n parts of a batch counts as n GPUs.

    Returns:
        the config, or a scaled copy.

    Raises:
        UserError: if the batch cannot be divided.
    """
    solver, world = cfg.SOLVER, comm.get_world_size()
    if solver.REFERENCE_WORLD_SIZE and solver.IMS_PER_BATCH % solver.REFERENCE_WORLD_SIZE:
        raise UserError(
            f"SOLVER.IMS_PER_BATCH {solver.IMS_PER_BATCH} cannot be divided by SOLVER.REFERENCE_WORLD_SIZE "
            f"{solver.REFERENCE_WORLD_SIZE}; 0 there takes the batch as it is"
        )
    cfg = DefaultTrainer.auto_scale_workers(cfg, world * solver.ACCUMULATE)
    if cfg.SOLVER.IMS_PER_BATCH % (world * solver.ACCUMULATE):
        raise UserError(
            f"SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH} cannot be divided by {world} process(es) times "
            f"SOLVER.ACCUMULATE {solver.ACCUMULATE}"
        )
    return cfg


def norm_nodes(cfg):
    """The parts of a config whose NORM can be SyncBN; RetinaNet, which treats it in a way of its own, is not one."""
    nodes = {name: node for name, node in cfg.MODEL.items() if isinstance(node, dict) and "NORM" in node}
    return [node for name, node in nodes.items() if name != "RETINANET"]


def fit_to_device(cfg):
    """
    Without CUDA run on the CPU; choose the batch norm that the number and kind of processes allow. In place.

    Raises:
        UserError: if there is no such norm, or no such GPU.
    """
    kind, _, number = cfg.MODEL.DEVICE.partition(":")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise UserError(f"MODEL.DEVICE {cfg.MODEL.DEVICE}: this machine has {torch.cuda.device_count()} GPUs")
    if cfg.MODEL.DEVICE == "cuda" and not torch.cuda.is_available():
        logger.info("No GPU: running on the CPU.")
        cfg.MODEL.DEVICE = "cpu"
    cpu = cfg.MODEL.DEVICE == "cpu"
    if cfg.SOLVER.AMP.ENABLED:
        logger.info(f"Mixed precision: {'bf16' if cpu else 'fp16 with loss scaling'}.")
    norm = "BN" if comm.get_world_size() == 1 else "naiveSyncBN" if cpu else "SyncBN"
    if norm == "naiveSyncBN" and cfg.MODEL.RETINANET.NORM == "SyncBN":
        raise UserError(
            "MODEL.RETINANET.NORM SyncBN, one for each level, does not exist for several CPU processes: use GN, or none"
        )
    synced = [node for node in (*norm_nodes(cfg), cfg.MODEL.RETINANET) if node.NORM == "SyncBN"]
    for node in synced:
        node.NORM = norm
    if synced and norm != "SyncBN":
        logger.info(f"{comm.get_world_size()} process(es) on {cfg.MODEL.DEVICE}: {norm} in place of SyncBN.")
