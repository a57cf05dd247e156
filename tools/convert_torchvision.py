#!/usr/bin/env python
"""
Convert a torchvision ResNet or ResNeXt to MODEL.WEIGHTS, for trainings and searches with SP-NAS's network:

    python tools/convert_torchvision.py --weights resnet50.pth --output R-50.pth
    python tools/convert_torchvision.py --weights resnet18.pth --output R-18.pth --code 11-21-21-21 --block basic
"""

import argparse

import detnas.command_line  # isort: skip  # noqa: F401  first: from here on Ctrl-C is told in a word
import detnas.compat  # isort: skip  # noqa: F401  it mends Detectron2 0.6
import spnas  # isort: skip  # the network
import torch
from detectron2.utils.file_io import PathManager

from detnas.errors import user_errors
from detnas.files import check_other_file, write_atomically
from detnas.modeling.foreign import from_torchvision
from detnas.modeling.weights import BODY, check_weights, read_checkpoint

#: torchvision normalises RGB in 0..1, Detectron2 in 0..255
_INPUT = "INPUT.FORMAT RGB MODEL.PIXEL_MEAN '[123.675, 116.28, 103.53]' MODEL.PIXEL_STD '[58.395, 57.12, 57.375]'"


def main(args):
    with user_errors():
        check_other_file(args.output, args.weights)
        state = from_torchvision(read_checkpoint(args.weights))
        with torch.device("meta"):
            network = spnas.SPNet(args.code, block=args.block)
        check_weights(args.weights, state, network.state_dict())
        converted = {BODY + name: value for name, value in state.items()}
        write_atomically(PathManager, args.output, lambda f: torch.save({"model": converted}, f))
    print(f"{args.output}: {len(converted)} tensors. Train with\n  MODEL.WEIGHTS {args.output} {_INPUT}")


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="state dict of torchvision's network")
    parser.add_argument("--output", required=True, help=".pth file to write")
    parser.add_argument("--code", default="111-2111-211111-211", help="of the network")
    parser.add_argument("--block", default="bottleneck", help='"basic", "bottleneck" or "32x4d"')
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
