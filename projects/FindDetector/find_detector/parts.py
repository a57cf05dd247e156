"""Divides a training set: images for the search, and for a test where none is given."""

import dataclasses
import os

from detnas.data.datasets import parse_dataset_name
from detnas.data.voc import image_set_file
from detnas.errors import UserError

from .splits import split_coco, split_voc, write_split


def hold_out(name, count, folder, rest, part, seed=0):
    """
    Hold images out of a data set.

    Args:
        name: ``coco:ANNOTATIONS.json:IMAGES`` or ``voc:ROOT:SPLIT``.
        count: images to hold out.
        folder: for the files. A split of VOC form becomes two of a folder in it, of the name of ROOT, that links to
            the images: ROOT itself may be read-only.
        rest, part: what to call what is left and what is held out, such as "search", "holdout".
        seed: of the draw.

    Returns:
        names of both data sets.

    Raises:
        UserError: if that cannot be done, or not be written.
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
        # The name of the folder decides how AP is measured.
        own = os.path.join(folder, os.path.basename(os.path.abspath(root)))
        files = [dataclasses.replace(f, path=image_set_file(own, called[f.part])) for f in files]
        names = {f.part: f"voc:{own}:{called[f.part]}" for f in files}
    try:
        if form == "voc":
            _link(root, own)
        # An earlier plan in this folder may have divided otherwise.
        write_split(files, overwrite=True)
    except OSError as e:
        raise UserError(f"no images can be held out of {name}, since {e.filename or files[0].path} cannot be written: "
                        f"{e.strerror}") from None
    return names["search"], names["holdout"]


def _link(root, own):
    """Annotations and images of a folder in VOC form."""
    os.makedirs(os.path.dirname(image_set_file(own, "any")), exist_ok=True)
    for name in ("Annotations", "JPEGImages"):
        link, there = (os.path.join(folder, name) for folder in (own, root))
        # It may be that of another ROOT of this name.
        if os.path.realpath(link) != os.path.realpath(there):
            if os.path.lexists(link):
                os.remove(link)
            os.symlink(os.path.realpath(there), link)
