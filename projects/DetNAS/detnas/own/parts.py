"""Divides a training set: images for the search, and for a test where none is given."""

import dataclasses
import os

from detnas.data.datasets import parse_dataset_name
from detnas.data.split import split_coco, split_voc, write_split


def hold_out(name, count, folder, rest, part, seed=0):
    """
    Hold images out of a data set.

    Args:
        name: ``coco:ANNOTATIONS.json:IMAGES`` or ``voc:ROOT:SPLIT``.
        count: images to hold out.
        folder: for the files of COCO form; a split of VOC form has to lie in ROOT/ImageSets/Main, and its name says
            how many images were held out, so that other divisions have their files, too.
        rest, part: what to call what is left and what is held out, such as "search", "holdout".
        seed: of the draw.

    Returns:
        names of both data sets.

    Raises:
        FileNotFoundError, ValueError: if that cannot be done, or not be written.
    """
    form, *places = parse_dataset_name(name)
    called = {"search": rest, "holdout": part}
    if form == "coco":
        json_file, images = places
        files = split_coco(count, seed, json_file, images, folder)
        files = [dataclasses.replace(f, path=os.path.join(folder, f"{called[f.part]}.json")) for f in files]
        names = {f.part: f"coco:{f.path}:{images}" for f in files}
    else:
        root, split = places
        files = split_voc(count, seed, root, split)
        named = {f.part: f"{split}_{called[f.part]}_{f.num_images}" for f in files}
        files = [
            dataclasses.replace(f, path=os.path.join(os.path.dirname(f.path), f"{named[f.part]}.txt")) for f in files
        ]
        names = {f.part: f"voc:{root}:{named[f.part]}" for f in files}
    try:
        # A plan of before may have divided otherwise.
        write_split(files, overwrite=form == "coco")
    except OSError as e:
        raise ValueError(f"{files[0].path} cannot be written, so no images can be held out of {name}: {e.strerror}") \
            from None
    return names["search"], names["holdout"]
