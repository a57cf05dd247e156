#!/usr/bin/env python
"""
Print log-average miss rates on EuroCity Persons in percent, as the benchmark's own evaluation; lower is better.

    python tools/evaluate_ecp.py --labels ECP/day/labels/val --detections FOLDER
    python tools/evaluate_ecp.py --labels ECP/day/labels/val --detections FOLDER --ignore-others --json OUT.json

Both folders have a JSON file for each frame, at any depth, paired by file name. A file of detections has
{"identity": "frame", "children": [{"identity": "pedestrian", "score": 0.9, "x0": 1, "y0": 1, "x1": 9, "y1": 20}]}.
OUT.json gets {"pedestrian": {"reasonable": 0.1, ...}, "rider": {...}}: rates from 0 to 1, null if nothing counts.
"""

import argparse
import json
import math
import os
from collections import Counter

import detnas.command_line  # isort: skip  # noqa: F401  first: from here on Ctrl-C is told in a word
from detectron2.utils.file_io import PathManager
from tabulate import tabulate
from tqdm import tqdm

from detnas.data.ecp import read_frame
from detnas.errors import UserError, user_errors
from detnas.evaluation.lamr import DIFFICULTIES, LogAverageMissRate
from detnas.files import write_text


def find_frames(folder, option):
    """File name -> path of each JSON file at any depth; UserError if there is none, or two share a name."""
    if not PathManager.isdir(folder):
        raise UserError(f"{option} {folder} is no folder")
    found = {}
    for below, _, names in sorted(os.walk(PathManager.get_local_path(folder))):
        for name in sorted(name for name in names if name.endswith(".json")):
            if name in found:
                raise UserError(f"{option} has two files {name}: {found[name]} and {os.path.join(below, name)}")
            found[name] = os.path.join(below, name)
    if not found:
        raise UserError(f"{option} {folder} has no .json file")
    return found


def main(args):
    with user_errors():
        labels, detections = find_frames(args.labels, "--labels"), find_frames(args.detections, "--detections")
        if not labels.keys() & detections.keys():
            raise UserError(f"no file of --detections is called like one of --labels, such as {min(labels)}")
        for names, what in ((detections.keys() - labels.keys(), "detection files of no frame are left out"),
                            (labels.keys() - detections.keys(), "frames have no detection file, as if none was found")):
            if names:
                print(f"{len(names)} {what}: {min(names)}{', ...' * (len(names) > 1)}")
        measure, unknown = LogAverageMissRate(args.ignore_others), Counter()
        for name in tqdm(sorted(labels), desc="frames", disable=None):
            found = read_frame(detections[name], unknown, detections=True) if name in detections else []
            measure.add(read_frame(labels[name], unknown), found)
        if unknown:
            words = ", ".join(f"{word} ({count})" for word, count in unknown.most_common())
            print(f"identities and tags that EuroCity Persons does not have, which are left out: {words}")
        figures = measure.figures()
        print(tabulate([[kind, *(f"{100 * rate:.1f}" if not math.isnan(rate) else "nothing to count"
                                 for rate in rates.values())] for kind, rates in figures.items()],
                       ["LAMR, %", *DIFFICULTIES], tablefmt="github", disable_numparse=True))
        figures = {kind: {name: None if math.isnan(rate) else rate for name, rate in rates.items()}
                   for kind, rates in figures.items()}
        if args.json:
            write_text(args.json, json.dumps(figures, indent=1), PathManager)
        return figures


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", required=True, metavar="FOLDER")
    parser.add_argument("--detections", required=True, metavar="FOLDER")
    parser.add_argument("--ignore-others", action="store_true",
                        help="a rider found as a pedestrian is not false, nor the reverse: the paper's ignore setting")
    parser.add_argument("--json", metavar="OUT")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
