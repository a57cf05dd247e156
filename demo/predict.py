#!/usr/bin/env python
"""
Draw what a trained detector finds in your images.

    python demo/predict.py --config-file CONFIG --input FOLDER --output FOLDER [--threshold 0.5] [KEY VALUE ...]

CONFIG is of a training, which has model_final.pth or MODEL.WEIGHTS, an exported model.yaml, or a search's best.yaml.
Drawn images keep their names (.png without an ending); detections.json holds their boxes in COCO's form.
"""

import argparse
import json
import os

import detnas.command_line  # isort: skip  # noqa: F401  first: from here on Ctrl-C is told in a word
import detnas.compat  # isort: skip  # noqa: F401  it mends Detectron2 0.6
import pretrained  # isort: skip  # noqa: F401  it registers the keys of timm's networks
import released  # isort: skip  # noqa: F401  it registers detectors of the authors' code
import spnas  # isort: skip  # noqa: F401  it registers its keys
from detectron2.data.catalog import Metadata
from detectron2.engine import DefaultPredictor
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.utils.file_io import PathManager
from PIL import Image
from tqdm import tqdm

from detnas.data.mapper import is_classifier
from detnas.data.reading import read_image
from detnas.errors import UserError, user_errors
from detnas.evaluation.evaluators import only_warnings
from detnas.export.network import load_network_config
from detnas.files import write_text
from detnas.launch.outputs import network_weights
from detnas.launch.setup import fit_to_device
from detnas.modeling.weights import load_weights
from find_detector.drawing import draw

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def find_images(inputs, output):
    """Image files of folders and files; UserError if one has none, or the output would overwrite something."""
    files = []
    for path in inputs:
        if PathManager.isdir(path):
            if os.path.realpath(path) == os.path.realpath(output):
                raise UserError(f"--output {output} is the folder of the images, which would be overwritten")
            names = sorted(PathManager.ls(path))
            found = [name for name in names if name.lower().endswith(ENDINGS)]
            if not found:
                raise UserError(f"--input {path} holds no image ({', '.join(ENDINGS)})")
            others = [name for name in names if name not in found]
            if others:
                # A folder may hold an annotation for each image.
                more = f" and {len(others) - 3} more" if len(others) > 3 else ""
                print(f"{path}: skipped {', '.join(others[:3])}{more}: no image by the name ({', '.join(ENDINGS)})")
            files += [os.path.join(path, name) for name in found]
        elif PathManager.isfile(path):
            files.append(path)
        else:
            raise UserError(f"--input {path} does not exist")
    names = [os.path.basename(file) for file in files]
    for file, name in zip(files, names):
        if names.count(name) > 1:
            raise UserError(f"two images of --input are called {name}")
        if os.path.realpath(file) == os.path.realpath(os.path.join(output, name)):
            raise UserError(f"--output {output} is the folder of {file}, which would be overwritten")
        drawn = os.path.join(output, drawn_name(file))
        if PathManager.exists(drawn) and not PathManager.exists(detections_file(output)):
            raise UserError(f"{drawn} is of something else, and would be overwritten: give another --output")
    return files


def detections_file(output):
    """Path of the detections; the file also marks a folder of an earlier start."""
    return os.path.join(output, "detections.json")


def build_predictor(config_file, opts, threshold):
    """DefaultPredictor with all weights, and metadata for drawing; UserError for a classifier or a wrong threshold."""
    if not 0 <= threshold <= 1:
        raise UserError(f"--threshold {threshold}: scores are between 0 and 1")
    cfg = load_network_config(config_file, opts)
    if is_classifier(cfg):
        raise UserError(f"{config_file} is a classifier's; boxes come from a detector")
    weights = network_weights(config_file, cfg, opts)
    cfg.MODEL.DEVICE = dict(zip(opts[::2], opts[1::2])).get("MODEL.DEVICE", "cuda")
    fit_to_device(cfg)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = cfg.MODEL.RETINANET.SCORE_THRESH_TEST = threshold
    # DefaultPredictor would take a file that matches in part.
    cfg.MODEL.WEIGHTS = ""
    with only_warnings("detectron2", "fvcore"):
        predictor = DefaultPredictor(cfg)
    load_weights(predictor.model, weights)
    return predictor, Metadata().set(thing_classes=list(cfg.MODEL.DETNAS.CLASSES))


def write_image(image, path):
    """Write an image, (H, W, 3) RGB uint8."""
    with PathManager.open(path, "wb") as f:
        Image.fromarray(image).save(f, format=Image.registered_extensions()[os.path.splitext(path)[1].lower()])


def drawn_name(file):
    """Name of a drawn copy: the file's, with .png added if its ending is not an image's."""
    name = os.path.basename(file)
    return name if name.lower().endswith(ENDINGS) else f"{name}.png"


def main(args):
    with user_errors():
        files = find_images(args.input, args.output)
        predictor, metadata = build_predictor(args.config_file, args.opts, args.threshold)
        PathManager.mkdirs(args.output)
        write_text(detections_file(args.output), "[]", PathManager)
        detections, drawn = [], 0
        for file in tqdm(files, desc="images", disable=None):
            try:
                image = read_image(file, "BGR")
            except (OSError, SyntaxError) as e:
                tqdm.write(f"{file} cannot be read as an image and is skipped: {e}")
                continue
            instances = predictor(image)["instances"].to("cpu")
            detections += instances_to_coco_json(instances, os.path.basename(file))
            try:
                write_image(draw(image, instances, metadata), os.path.join(args.output, drawn_name(file)))
                drawn += 1
            except (OSError, ValueError) as e:
                tqdm.write(f"{file} cannot be drawn: {e}")
        write_text(detections_file(args.output), json.dumps(detections), PathManager)
    print(f"{args.output}: {drawn} images, {len(detections)} objects with a score of {args.threshold} and more")
    return detections


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE", help="of a training, exported, or a best.yaml")
    parser.add_argument(
        "--input", required=True, action="append", metavar="PATH", help="folder or image; may be given several times"
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="for the drawn images")
    parser.add_argument("--threshold", type=float, default=0.5, help="lowest score that is drawn")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs over the config")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
