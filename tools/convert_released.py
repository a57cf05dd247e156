#!/usr/bin/env python
"""
Convert a checkpoint of the authors' released code into one for MODEL.WEIGHTS.

    python tools/convert_released.py IN.pth OUT.pth

IN.pth holds an ImageNet classifier or a detector (Faster R-CNN with FPN, RetinaNet), as a single network or supernet.
The tool reads kind, space and arch from the file, and prints them with the settings that a config needs.
"""

import argparse
import os

import detnas.command_line  # isort: skip  # noqa: F401  first: from here on Ctrl-C is told in a word
import detnas.compat  # isort: skip  # noqa: F401  it mends Detectron2 0.6
import torch
from detectron2.modeling import build_model
from detectron2.utils.file_io import PathManager

from detnas.config.load import load_config
from detnas.errors import user_errors
from detnas.files import check_other_file, write_atomically
from detnas.modeling.weights import check_weights, read_checkpoint
from released.convert import from_released

CONFIGS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "configs")
BASES = {
    "classifier": "ImageNet/Base-ImageNet.yaml",
    "faster_rcnn": "COCO/Base-FPN.yaml",
    "retinanet": "COCO/Base-RetinaNet.yaml",
}
#: settings where the released code places, pools or selects boxes differently
SETTINGS = {
    "classifier": {},
    "faster_rcnn": {
        "MODEL.ANCHOR_GENERATOR.NAME": "ReleasedAnchorGenerator",
        "MODEL.PROPOSAL_GENERATOR.NAME": "ReleasedRPN",
        "MODEL.ROI_HEADS.NAME": "ReleasedROIHeads",
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlign",
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": "2",
    },
    "retinanet": {
        "MODEL.META_ARCHITECTURE": "ReleasedRetinaNet",
        "MODEL.ANCHOR_GENERATOR.NAME": "ReleasedAnchorGenerator",
        "MODEL.RETINANET.NMS_THRESH_TEST": "0.4",
    },
}


def settings(result):
    """Words KEY VALUE ... that a config needs for these weights."""
    classes = {"classifier": "CLASSIFIER", "faster_rcnn": "ROI_HEADS", "retinanet": "RETINANET"}[result.kind]
    detnas_keys = {"SPACE": result.space, "ARCH": result.arch, "SHUFFLE": result.shuffle}
    opts = [word for key, value in detnas_keys.items() for word in (f"MODEL.DETNAS.{key}", value)]
    boxes = [word for pair in SETTINGS[result.kind].items() for word in pair]
    return [*opts, f"MODEL.{classes}.NUM_CLASSES", str(result.num_classes), *boxes]


def expected_state(result):
    """State dict of the model for these weights: names and shapes, without memory."""
    cfg = load_config(os.path.join(CONFIGS, BASES[result.kind]), [*settings(result), "MODEL.DEVICE", "meta"])
    with torch.device("meta"):
        return build_model(cfg).state_dict()


def main(args):
    with user_errors():
        check_other_file(args.output, args.input)
        result = from_released(read_checkpoint(args.input), args.shuffle)
        check_weights(args.input, result.state, expected_state(result))
        about = {name: getattr(result, name) for name in ("kind", "space", "arch", "shuffle")}
        PathManager.mkdirs(os.path.dirname(args.output) or ".")
        checkpoint = {"model": result.state, "detnas": about}
        write_atomically(PathManager, args.output, lambda f: torch.save(checkpoint, f))
    print(f"{args.input}: {result.kind} of space {result.space}, {result.arch}, {len(result.state)} tensors")
    for change in result.changes:
        print(f"- {change}")
    for name in result.unused:
        print(f"- not used: {name}")
    print(f"Wrote {args.output}. Use it with configs/{BASES[result.kind]} and")
    print(f"  MODEL.WEIGHTS {args.output} {' '.join(settings(result))}")
    return result


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", metavar="IN", help="released file")
    parser.add_argument("output", metavar="OUT", help="file to write")
    parser.add_argument("--shuffle", help="channel split of the weights: even_odd or interleave, if not as released")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
