#!/usr/bin/env python
"""
Print multiply-adds and parameters of each part of a detector and, with --latency, how long its backbone takes here.

    python tools/count_costs.py --config-file configs/COCO/Base-FPN.yaml MODEL.DETNAS.ARCH DetNAS-COCO-FPN-300M
    python tools/count_costs.py --config-file CONFIG --size 480 640 --latency --batch 1
"""

import argparse

from detnas.command_line import positive  # isort: skip  # first: from here on Ctrl-C is told in a word
from detnas import CostTable  # isort: skip  # it mends Detectron2 0.6
import elasticdet  # isort: skip  # noqa: F401  it registers its keys
import pretrained  # isort: skip  # noqa: F401  it registers the keys of timm's networks
import released  # isort: skip  # noqa: F401  it registers detectors of the authors' code
import spnas  # isort: skip  # noqa: F401  it registers its keys
import torch
from tabulate import tabulate

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.cost.detector import backbone_costs, detector_costs
from detnas.cost.latency import LatencyMeter
from detnas.errors import UserError, user_errors
from detnas.launch.outputs import read_arch


def main(args):
    with user_errors():
        if args.device == "cuda" and not torch.cuda.is_available():
            raise UserError("--device cuda: torch finds no GPU here")
        cfg = load_config(args.config_file, args.opts)
        if "detnas" in cfg.MODEL.BACKBONE.NAME:
            space = config_space(cfg)
            path = read_arch(cfg.MODEL.DETNAS.ARCH, space)
            cfg.MODEL.DETNAS.ARCH = space.format(path)
            backbone_224 = CostTable.measure(space).flops(path)
        elif args.latency:
            raise UserError(f"--latency is of DetNAS backbones; MODEL.BACKBONE.NAME is {cfg.MODEL.BACKBONE.NAME}")
        else:
            backbone_224 = backbone_costs(cfg)["flops"]
        costs = detector_costs(cfg, args.size)
    size = "{}x{}".format(*args.size)
    # Papers and search limits count the backbone at 224x224.
    rows = [("backbone at 224x224", {**costs["backbone"], "flops": backbone_224}), *costs.items()]
    table = [[part, f"{cost['flops'] / 1e9:.3f}", f"{cost['params'] / 1e6:.2f}"] for part, cost in rows]
    table[1][0] = f"backbone at {size}"
    print(tabulate(table, [f"at {size}", "multiply-adds (G)", "parameters (M)"], disable_numparse=True))
    if args.latency:
        meter = LatencyMeter(space, args.size, args.batch, args.device)
        print(f"\nbackbone: {meter.cost('backbone_latency_ms', path):.1f} ms ({meter.settings})")
    return costs


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="config of a detector or classifier")
    parser.add_argument(
        "--size", nargs=2, type=positive, default=(800, 1344), metavar=("H", "W"), help="image in pixels"
    )
    parser.add_argument("--latency", action="store_true", help="measure the backbone, too")
    parser.add_argument("--batch", type=positive, default=1, help="images at once, for --latency")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="for --latency")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs over the config")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
