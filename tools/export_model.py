#!/usr/bin/env python
"""
Export a network: model.yaml and model.pth for any Detectron2 project that imports detnas, and TorchScript or ONNX
files, which are run and compared with the network.

    python tools/export_model.py --config-file CONFIG                       what train_net.py has trained with CONFIG
    python tools/export_model.py --config-file CONFIG --format torchscript --format onnx
    python tools/export_model.py --config-file FOLDER/best.yaml             the winner that a search left
    python tools/export_model.py --config-file CONFIG --random-weights MODEL.DETNAS.ARCH DetNAS-COCO-FPN-300M
"""

import argparse
import os

import detnas.command_line  # isort: skip  # noqa: F401  first: from here on Ctrl-C is told in a word
import detnas.compat  # isort: skip  # noqa: F401  it mends Detectron2 0.6
import pretrained  # isort: skip  # noqa: F401  it registers the keys of timm's networks
import released  # isort: skip  # noqa: F401  it registers detectors of the authors' code
import spnas  # isort: skip  # noqa: F401  it registers its keys
import torch
from detectron2.utils.file_io import PathManager

from detnas.cost.latency import processor
from detnas.data.mapper import is_classifier
from detnas.errors import UserError, user_errors
from detnas.export.check import check_file, check_images
from detnas.export.detector_latency import engine_times
from detnas.export.engines import ENGINES, engine_version, write_script
from detnas.export.network import load_network, load_network_config, write_network
from detnas.export.traced import DETECTOR, FORMATS, backbone_part, require_onnx, whole_part, write_part
from detnas.launch.outputs import EXPORTED_CONFIG, has_weights_beside, network_weights

#: seconds of a comparison of engines, most runs of each engine
_SECONDS, _RUNS = 10, 100


def read_network(args):
    """Config and state dict of a single network, and a line about them; UserError if it has no weights."""
    cfg = load_network_config(args.config_file, args.opts)
    if args.random_weights:
        return cfg, load_network(cfg).state_dict(), "RANDOM WEIGHTS: an untrained network."
    try:
        weights = network_weights(args.config_file, cfg, args.opts)
    except UserError as e:
        raise UserError(f"{e}; --random-weights exports an untrained network") from None
    state = load_network(cfg, weights).state_dict()
    about = ""
    if has_weights_beside(cfg, args.opts):
        # The first line says where the weights come from.
        with PathManager.open(args.config_file) as f:
            about = f.readline().strip("# \n")
    if cfg.SEARCH.WINNER:
        # The folder may have been moved.
        cfg.OUTPUT_DIR = os.path.dirname(args.config_file)
    return cfg, state, about or f"Trained as {os.path.basename(args.config_file)} says."


def export_part(cfg, model, form, folder, images, backbone_only):
    """Write the whole network, or else its backbone; returns file, part and why it is not the whole."""
    part, reason = (None, "--backbone") if backbone_only else whole_part(cfg)
    if part:
        try:
            return write_part(model, part, form, folder, images[0][1]), part, ""
        except (RuntimeError, ValueError) as e:
            reason = f"torch cannot write the whole {part.name}: {str(e).strip().splitlines()[0]}"
    part = backbone_part(model)
    return write_part(model, part, form, folder, images[0][1]), part, f", and not the whole network ({reason})"


def describe_part(file, part, reason, results):
    """Lines about an exported file and its check."""
    yield f"{file}: the {part.name}{reason}; images of any size"
    sizes = ", ".join(dict.fromkeys("x".join(map(str, r["size"])) for r in results))
    more = f", and {len(results) - 3} others" if len(results) > 3 else ""
    differences = {name: max(r["differences"][name] for r in results) for name in results[0]["differences"]}
    greatest = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    shown = f"{results[0]['image']}, mirrored and at another size{more}"
    yield f"  run on {shown} ({sizes}); greatest differences: {greatest}"
    if "alone" in results[0]:
        count, alone = (sum(r[key] for r in results) for key in ("detections", "alone"))
        yield f"  detections compared: {count}, boxes in pixels; that only one side has: {alone}"
        if not count:
            yield "  nothing was detected there, so little was compared: --image FILE with objects says more"


def describe_engines(file, model, part, image):
    """Lines about the latency of an ONNX file in each installed engine, and of the network in torch."""
    size, threads = "x".join(map(str, image.shape[1:])), torch.get_num_threads()
    yield f"  an image of {size}, {threads} thread{'s' * (threads > 1)}, {processor()}: median, 95th percentile"
    (times,) = engine_times([(file, part, model, image)], _SECONDS, _RUNS)
    for engine, (median, late) in times.items():
        yield f"  {engine_version(engine):30} {median:7.1f} {late:7.1f} ms"


def describe_interface(cfg, parts):
    """Lines about inputs and outputs of the files."""
    if is_classifier(cfg):
        size = f"cut to {cfg.INPUT.CLASSIFIER.SIZE}x{cfg.INPUT.CLASSIFIER.SIZE}"
    else:
        size = f"resized to a shorter side of {cfg.INPUT.MIN_SIZE_TEST}, the longer at most {cfg.INPUT.MAX_SIZE_TEST}"
    yield f"input   image (3, H, W) float32, {cfg.INPUT.FORMAT}, 0..255, {size}; mean and deviation are inside"
    for part in parts:
        if part.name == "detector":
            yield "outputs boxes (N, 4) float32, x0 y0 x1 y1 in pixels of that image; scores (N,) float32, falling;"
            yield f"        classes (N,) int64, 0-based, names in {EXPORTED_CONFIG}"
        elif part.name == "classifier":
            yield f"outputs scores (classes,) float32, probabilities; names in {EXPORTED_CONFIG}"
        else:
            yield f"outputs {', '.join(part.outputs)}: (1, C, h, w) float32, of the image padded at right and bottom"


def main(args):
    with user_errors():
        if "onnx" in args.format:
            require_onnx("--format onnx")
        cfg, state, about = read_network(args)
        beside = os.path.dirname(args.config_file) or "."
        is_export = has_weights_beside(cfg, args.opts) and not cfg.SEARCH.WINNER
        folder = args.output or (beside if is_export else os.path.join(cfg.OUTPUT_DIR, "export"))
        images = check_images(cfg, args.image) if args.format else []
        cfg, model = write_network(folder, cfg, state, about)
        print(f"{os.path.join(folder, EXPORTED_CONFIG)} and model.pth: {about}")
        parts = {}
        for form in dict.fromkeys(args.format):
            file, part, reason = export_part(cfg, model, form, folder, images, args.backbone)
            file, results = check_file(file, part, model, images)
            print("\n".join(describe_part(file, part, reason, results)), flush=True)
            parts[part.name] = part
            if form == "onnx":
                print("\n".join(describe_engines(file, model, part, images[0][1])), flush=True)
            if form == "onnx" and part is DETECTOR:
                script = write_script(folder, cfg, args.engine)
                print(f"{script} IMAGE: what it finds, without Detectron2, with {args.engine}")
        if parts:
            print("\n".join(describe_interface(cfg, parts.values())))
    return folder


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config-file", required=True, metavar="FILE", help="of a training, an exported model.yaml, or a best.yaml"
    )
    parser.add_argument("--output", default="", metavar="FOLDER", help="by default OUTPUT_DIR/export")
    parser.add_argument("--format", action="append", default=[], choices=FORMATS, help="may be given twice")
    parser.add_argument(
        "--engine", choices=ENGINES, default="onnxruntime", help="what detect.py beside an ONNX file runs it with"
    )
    parser.add_argument("--backbone", action="store_true", help="with --format, the backbone with its FPN alone")
    parser.add_argument(
        "--image", action="append", default=[], metavar="FILE",
        help="to check the files on; may be given several times; some test images by default"
    )
    parser.add_argument("--random-weights", action="store_true", help="export an untrained network")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs over the config")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
