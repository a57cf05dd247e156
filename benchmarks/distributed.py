#!/usr/bin/env python
"""
What a training step of a supernet pays for the blocks that its path leaves out, in two CPU processes (gloo):

    python benchmarks/distributed.py

Side by side on one model, in turns: DistributedDataParallel with find_unused_parameters, which averages the gradients
of the whole supernet, and ours, which averages those of the path. The classifier of the "300M" space, 2 x 4 images.
"""

import argparse
import copy
import statistics
import time

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
import torch.distributed as dist
from detectron2.modeling import build_model
from detectron2.utils import comm
from torch.nn.parallel import DistributedDataParallel

from detnas.config.load import load_config
from detnas.launch.setup import launch
from detnas.modeling.backbone import find_supernet
from detnas.training.sampling import UniformSampler
from detnas.training.step import average_gradients


def seconds(function):
    dist.barrier()
    start = time.perf_counter()
    function()
    dist.barrier()
    return time.perf_counter() - start


def main(args):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cfg = load_config("configs/ImageNet/supernet_300M.yaml", ["MODEL.DEVICE", "cpu", "MODEL.DETNAS.NORM", "BN"])
    model = build_model(cfg)
    # Its hooks stay on the parameters, so it has a model of its own.
    ddp = DistributedDataParallel(copy.deepcopy(model), broadcast_buffers=False, find_unused_parameters=True)
    supernets = [find_supernet(model), find_supernet(ddp)]
    sampler = UniformSampler(supernets[0].space, 0)
    batch = [{"image": torch.randint(0, 256, (3, args.size, args.size)), "label": i} for i in range(4)]

    def alone():
        sum(model(batch).values()).backward()

    def ours():
        alone()
        average_gradients(model, comm.get_world_size())

    def with_ddp():
        sum(ddp(batch).values()).backward()

    kinds = {"one process, nothing averaged": alone, "DDP, find_unused_parameters": with_ddp, "path only": ours}
    times = {name: [] for name in kinds}
    for iteration in range(args.rounds + 2):
        for supernet in supernets:
            supernet.path = sampler(iteration)
        for name, step in kinds.items():
            model.zero_grad()
            ddp.zero_grad()
            took = seconds(step)
            if iteration >= 2:
                times[name].append(took)
    if comm.is_main_process():
        base = statistics.median(times["one process, nothing averaged"])
        print(f"{args.rounds} paths, 2 x 4 images of {args.size}x{args.size}; forward and backward, medians")
        for name, values in times.items():
            middle = statistics.median(values)
            print(f"{name:32}{1000 * middle:8.1f} ms{middle / base:7.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="paths")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    args = parser.parse_args()
    args.cpu_processes, args.num_gpus = 2, 1
    launch(main, args)
