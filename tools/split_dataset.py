#!/usr/bin/env python
"""
Hold images out of a training set, to choose networks by in the search; and check that no image is in two data sets.

    python tools/split_dataset.py coco                  # 5000 images of train2017, below $DETECTRON2_DATASETS
    python tools/split_dataset.py voc                   # 5000 images of trainval 2007 and 2012 together
    python tools/split_dataset.py imagenet              # 50000 images of its training set
    python tools/split_dataset.py own --json boxes.json --image-root images --images 100
    python tools/split_dataset.py own --voc-root VOC2007 --split trainval --images 100
    python tools/split_dataset.py own --folder CLASSES --images 100
    python tools/split_dataset.py check coco_2017_train_search coco_2017_train_holdout coco_2017_val

NAME becomes NAME_search and NAME_holdout beside it, equal for equal images and seed. A check reads every image file
that has the size of another; it ends with 1 if it finds an image twice, and takes the data sets as a config names them.
"""

import argparse
import itertools
import os
import sys
from collections import Counter

if sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
    # tools/find_detector.py would be found in place of the package.
    sys.path.pop(0)

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from detectron2.utils.file_io import PathManager
from tabulate import tabulate

from detnas.data.datasets import read_image_folder
from detnas.data.standard import datasets_root, require_standard
from detnas.errors import UserError, user_errors
from find_detector.splits import PARTS, SplitFile, check_leaks, draw, split_coco, split_voc, write_split

#: leaks of a pair of data sets that are printed
SHOWN = 20


def split_folder(count, seed=0, folder=None):
    """
    Split the images of ImageNet's training set, or of another folder with a folder of images for each class, into the
    lists FOLDER_search.txt and FOLDER_holdout.txt; two :class:`SplitFile` without boxes.
    """
    if folder is None:
        folder = os.path.join(datasets_root(), "imagenet", "train")
        require_standard(folder, "imagenet", "nothing to split")
    elif not PathManager.isdir(folder):
        raise UserError(f"{folder} does not exist")
    folder = folder.rstrip("/")
    names = list(read_image_folder(folder, folder)[1])
    held_out = draw(names, count, seed, folder)
    parts = {"search": sorted(set(names) - held_out), "holdout": sorted(held_out)}
    return [
        SplitFile(part, f"{folder}_{part}.txt", "".join(f"{name}\n" for name in drawn), len(drawn), Counter())
        for part, drawn in parts.items()
    ]


def split_table(files):
    """The numbers of boxes by class in both parts, three classes a line."""
    boxes = {part: sum((file.boxes for file in files if file.part == part), Counter()) for part in PARTS}
    # Not those of the sums: adding drops classes without boxes.
    names = list(dict.fromkeys(name for file in files for name in file.boxes))
    cells = [(name, boxes["search"][name], boxes["holdout"][name]) for name in names]
    rows = [list(itertools.chain(*cells[i : i + 3])) for i in range(0, len(cells), 3)]
    return tabulate(rows, headers=["class", *PARTS] * min(3, len(cells)))


def split(args):
    if args.command == "coco":
        files = split_coco(args.images, args.seed)
    elif args.command == "voc":
        files = split_voc(args.images, args.seed)
    elif args.command == "imagenet":
        files = split_folder(args.images, args.seed)
    elif args.folder:
        files = split_folder(args.images, args.seed, args.folder)
    elif args.json:
        files = split_coco(args.images, args.seed, args.json, args.image_root, args.out_dir)
    else:
        files = split_voc(args.images, args.seed, args.voc_root, args.split)
    equal = write_split(files, args.overwrite)
    for file in files:
        there = " (was there already)" if file.path in equal else ""
        boxes = f", {sum(file.boxes.values())} boxes" if file.boxes else ""
        print(f"{file.path}: {file.num_images} images{boxes}{there}")
    if any(file.boxes for file in files):
        print(f"\n{split_table(files)}")
    return 0


def check(args):
    found = check_leaks(args.names)
    for (a, b), leaks in found.items():
        print(f"{a} and {b}: {len(leaks)} images in both")
        for leak in leaks[:SHOWN]:
            print(f"  same {leak.kind}: {leak.a} {leak.b}")
        if len(leaks) > SHOWN:
            print(f"  and {len(leaks) - SHOWN} more")
    return int(any(found.values()))


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    coco = commands.add_parser("coco", help="hold out images of COCO's train2017")
    voc = commands.add_parser("voc", help="hold out images of VOC's trainval 2007 and 2012")
    imagenet = commands.add_parser("imagenet", help="hold out images of ImageNet's training set")
    own = commands.add_parser("own", help="hold out images of your own data")
    for command in (coco, voc):
        command.add_argument("--images", type=int, default=5000, help="to hold out (default: 5000)")
    imagenet.add_argument("--images", type=int, default=50000, help="to hold out (default: 50000, 50 a class)")
    own.add_argument("--images", type=int, required=True, help="to hold out")
    own.add_argument("--json", metavar="FILE", help="own data in COCO form: the annotations")
    own.add_argument("--image-root", metavar="FOLDER", help="and its images")
    own.add_argument("--out-dir", metavar="FOLDER", help="where to write, if not beside FILE")
    own.add_argument("--voc-root", metavar="ROOT", help="own data in VOC form: folder of Annotations, JPEGImages")
    own.add_argument("--split", metavar="NAME", help="and ROOT/ImageSets/Main/NAME.txt")
    own.add_argument("--folder", metavar="ROOT", help="images to classify: a folder for each class")
    for command in (coco, voc, imagenet, own):
        command.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
        command.add_argument("--overwrite", action="store_true", help="replace files that have other content")
    check = commands.add_parser("check", help="look for images that are in two data sets")
    check.add_argument("names", nargs="+", help="data sets, named as in a config")
    return parser


def main(argv=None):
    """Returns the exit code."""
    args = parser().parse_args(argv)
    if args.command == "own":
        forms = (args.json, args.image_root), (args.voc_root, args.split), (args.folder,)
        given = [any(form) for form in forms]
        if sum(given) != 1 or given != [all(form) for form in forms]:
            parser().error("own data is named by --json and --image-root, by --voc-root and --split, or by --folder")
        if args.out_dir and not args.json:
            parser().error("--out-dir is for --json; a VOC split lies in its ROOT")
    with user_errors():
        return check(args) if args.command == "check" else split(args)


if __name__ == "__main__":
    sys.exit(main())
