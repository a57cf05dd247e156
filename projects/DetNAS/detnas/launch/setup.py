"""Starts the processes of a run, and fits its config to the machine and the data."""

import functools
import logging
import os
import socket
import sys
import tempfile
from typing import List, Optional

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.engine import launch as launch_on_gpus
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import setup_logger

from detnas.config.keys import config_space
from detnas.config.load import key_adders, load_config, without_unused
from detnas.config.settings import check_setting, check_settings
from detnas.data import datasets as data
from detnas.errors import UserError, escape_unknown, user_errors

from .outputs import describe_space, read_arch

logger = logging.getLogger(__name__)


def check_processes(args) -> None:
    """Raise a UserError if the machine cannot have the processes, GPUs or machines of the arguments."""
    gpus = torch.cuda.device_count()
    if args.num_gpus > max(gpus, 1):  # 1, the default, is one process with or without a GPU
        hint = "; --cpu-processes N starts N processes without GPUs" if gpus == 0 else ""
        raise UserError(f"--num-gpus {args.num_gpus}: this machine has {gpus} GPUs{hint}")
    if args.cpu_processes > 1 and gpus:
        raise UserError(f"--cpu-processes is for machines without GPUs; this one has {gpus}: use --num-gpus")
    if args.num_machines > 1 and args.dist_url == "auto":
        raise UserError(
            f"--num-machines {args.num_machines} needs --dist-url tcp://HOST:PORT, with the first machine's name and a "
            "free port of it, the same on all machines"
        )
    if args.num_machines > 1 and not torch.cuda.is_available():
        raise UserError(f"--num-machines {args.num_machines}: training on several machines needs GPUs on each")


def launch(main, args):
    """Run ``main(args)`` in the processes that the arguments ask for."""
    with user_errors():
        check_processes(args)
    try:
        with tempfile.TemporaryDirectory() as folder:
            # Processes of one machine meet in a file and use loopback: other machines could reach a port.
            own = f"file://{folder}/rendezvous"
            if args.num_machines == 1:
                for loopback in [name for _, name in socket.if_nameindex() if name.startswith("lo")][:1]:
                    for key in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                        os.environ.setdefault(key, loopback)
            if args.cpu_processes > 1:
                mp.spawn(_cpu_process, nprocs=args.cpu_processes, args=(main, args, own))
            else:
                url = own if args.dist_url == "auto" else args.dist_url
                launch_on_gpus(main, args.num_gpus, args.num_machines, args.machine_rank, dist_url=url, args=(args,))
    except mp.ProcessExitedException as e:
        sys.exit(e.exit_code)


def _cpu_process(rank, main, args, url):
    """Run ``main`` in a process without a GPU. Detectron2 0.6's ``launch`` asserts CUDA."""
    dist.init_process_group("gloo", init_method=url, world_size=args.cpu_processes, rank=rank)
    torch.set_num_threads(max(1, torch.get_num_threads() // args.cpu_processes))
    try:
        main(args)
    finally:
        dist.destroy_process_group()


def setup(args) -> CfgNode:
    """Load a run's config, fit it to machine and data, and freeze it. Also set up logger and seeds."""
    cfg = load_config(args.config_file, args.opts)
    check_settings(cfg)
    detnas, space = cfg.MODEL.DETNAS, config_space(cfg)
    path = read_arch(detnas.ARCH, space)
    if detnas.ARCH.endswith((".yaml", ".yml")):
        detnas.ARCH = space.format(path)
    _check_output_folder(cfg, space)
    register_datasets(cfg)
    _make_output_folder(cfg.OUTPUT_DIR)

    rank = comm.get_rank()
    for name in ("fvcore", "detectron2", *key_adders(cfg)):
        for handler in setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name=name).handlers:
            escape_unknown(handler.stream)
            handler.handleError = functools.partial(_log_error, handler)
    cfg = fit_to_processes(cfg)
    fit_to_device(cfg)
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    cfg.freeze()
    return cfg


def _log_error(handler, record):
    """On a full disk a run goes on without its log."""
    if not isinstance(sys.exc_info()[1], OSError):
        type(handler).handleError(handler, record)


def save_config(cfg: CfgNode) -> None:
    """Write config.yaml into the output folder. Called once a run can start, so that failed starts leave no file."""
    if comm.is_main_process():
        with PathManager.open(os.path.join(cfg.OUTPUT_DIR, "config.yaml"), "w") as f:
            f.write(without_unused(cfg).dump())


def _check_output_folder(cfg, space):
    """Raise a UserError if the folder has a network of another space, or a config.yaml of something else."""
    file = os.path.join(cfg.OUTPUT_DIR, "config.yaml")
    if not PathManager.exists(file):
        return
    try:
        there = config_space(load_config(file))
    except UserError as e:
        raise UserError(f"{file} would be written over, and is no config of a run: give another OUTPUT_DIR, or remove "
                        f"it ({e})") from None
    if there != space:
        raise UserError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} holds a run of {describe_space(there)}; this one is of "
            f"{describe_space(space)}: give another OUTPUT_DIR, or remove it"
        )


def _make_output_folder(folder):
    try:
        PathManager.mkdirs(folder)
    except OSError as e:
        raise UserError(f"OUTPUT_DIR {folder} cannot be made: {e.strerror}") from None
    if "://" not in folder and not os.path.isdir(folder):
        raise UserError(f"OUTPUT_DIR {folder} is a file")


def register_datasets(cfg: CfgNode) -> Optional[List[str]]:
    """
    Register a config's data sets and set its number of classes. Returns and raises as ``data.register_datasets``. An
    exported config, which names no training data, has classes of its own.
    """
    classes = () if cfg.DATASETS.TRAIN else cfg.MODEL.DETNAS.CLASSES
    names = data.register_datasets((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST), classes)
    if names:
        set_number_of_classes(cfg, len(names))
    return names


def set_number_of_classes(cfg: CfgNode, count: int) -> None:
    """Set the number of classes of every head."""
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = cfg.MODEL.RETINANET.NUM_CLASSES = cfg.MODEL.CLASSIFIER.NUM_CLASSES = count


def fit_to_processes(cfg: CfgNode) -> CfgNode:
    """
    Return a config with batch, learning rate and iterations scaled from ``SOLVER.REFERENCE_WORLD_SIZE`` GPUs to the
    processes. A process with n micro-batches counts as n GPUs. Raises a UserError if the batch cannot be divided.
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


def norm_nodes(cfg: CfgNode) -> List[CfgNode]:
    """Return the parts of a config whose NORM can be SyncBN, without RetinaNet, which treats SyncBN differently."""
    nodes = {name: node for name, node in cfg.MODEL.items() if isinstance(node, dict) and "NORM" in node}
    return [node for name, node in nodes.items() if name != "RETINANET"]


def fit_to_device(cfg: CfgNode) -> None:
    """Use the CPU without CUDA, and choose the processes' batch norm, in place. Raises a UserError if impossible."""
    check_setting(cfg, "MODEL.DEVICE")
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
