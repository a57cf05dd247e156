"""Tiny data in the layouts of ImageNet, COCO and VOC, always equal, in place of the real sets."""

import json

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin import register_all_coco, register_all_pascal_voc
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from detectron2.data.datasets.pascal_voc import CLASS_NAMES
from PIL import Image

WNIDS = ("n01440764", "n02084071", "n03445777")
#: (width, height) of images, in turn
SIZES = ((80, 60), (60, 80), (96, 48), (64, 64))


def use_root(monkeypatch, root):
    """Let names of standard data mean files below ``root`` for one test: Detectron2 has read the variable already."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    for catalog in (DatasetCatalog, MetadataCatalog):
        monkeypatch.setattr(catalog, "data", {})
    register_all_coco(str(root))
    register_all_pascal_voc(str(root))


def _save(path, size, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    coarse.resize(size, Image.BICUBIC).save(path, "JPEG", quality=90)


def _box(size, rng):
    """A random box (x, y, w, h) in whole pixels inside an image of ``size`` (w, h)."""
    w, h = (int(rng.integers(12, side // 2)) for side in size)
    return int(rng.integers(0, size[0] - w)), int(rng.integers(0, size[1] - h)), w, h


def write_imagenet(root, images=4):
    """Write ROOT/imagenet/{train,val}/WNID/*.JPEG: three classes of ``images`` images each."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for wnid in WNIDS:
            for i in range(images):
                name = f"{wnid}_{i}.JPEG" if split == "train" else f"ILSVRC2012_val_{i:08d}.JPEG"
                _save(root / "imagenet" / split / wnid / name, SIZES[i % len(SIZES)], rng)


def write_coco(root, train=12, val=4):
    """Write ROOT/coco as COCO 2017: two objects an image, none in each sixth, a crowd in each fourth; random ids."""
    rng = np.random.default_rng(1)
    categories = [{key: c[key] for key in ("id", "name")} for c in COCO_CATEGORIES if c["isthing"]]
    ids = [int(i) for i in rng.permutation(np.arange(1, 1 + train + val)) * 37]
    for split, count in (("train", train), ("val", val)):
        images, annotations = [], []
        for index in range(count):
            image_id, (width, height) = ids.pop(), SIZES[index % len(SIZES)]
            image = {"file_name": f"{image_id:012d}.jpg", "height": height, "width": width, "id": image_id}
            _save(root / "coco" / f"{split}2017" / image["file_name"], (width, height), rng)
            images.append(image)
            for _ in range(0 if index % 6 == 5 else 2):
                x, y, w, h = _box((width, height), rng)
                found = {"bbox": [x + 0.25, y + 0.5, w - 0.5, h - 0.75], "area": w * h, "iscrowd": 0}
                found.update(category_id=categories[int(rng.integers(80))]["id"], id=1000 * image_id + len(annotations))
                polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
                annotations.append({**found, "image_id": image_id, "segmentation": polygon})
            if index % 4 == 3:
                crowd = {"bbox": [0, 0, width, height], "area": width * height, "iscrowd": 1, "category_id": 1}
                mask = {"counts": [0, width * height], "size": [height, width]}
                annotations.append({**crowd, "image_id": image_id, "id": 900000 + image_id, "segmentation": mask})
        data = {"info": {"year": 2017}, "licenses": [], "images": images, "annotations": annotations}
        folder = root / "coco" / "annotations"
        folder.mkdir(exist_ok=True)
        (folder / f"instances_{split}2017.json").write_text(json.dumps({**data, "categories": categories}))


def write_voc(root, images=8, classes=CLASS_NAMES):
    """Write ROOT/VOC2007 and VOC2012: two objects an image, classes in turn, every seventh object difficult."""
    rng = np.random.default_rng(2)
    for year, splits in (("2007", ("trainval", "test")), ("2012", ("trainval",))):
        folder, number, objects = root / f"VOC{year}", 0, 0
        for sub in ("Annotations", "ImageSets/Main"):
            (folder / sub).mkdir(parents=True)
        for split in splits:
            ids = []
            for index in range(images):
                number += 1
                image_id = f"{number:06d}" if year == "2007" else f"2008_{number:06d}"
                size, found = SIZES[index % len(SIZES)], []
                _save(folder / "JPEGImages" / f"{image_id}.jpg", size, rng)
                for _ in range(2):
                    found.append((classes[objects % len(classes)], _box(size, rng), objects % 7 == 4))
                    objects += 1
                (folder / "Annotations" / f"{image_id}.xml").write_text(voc_xml(size, found))
                ids.append(image_id)
            (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{i}\n" for i in ids))


def voc_xml(size, objects):
    """XML of an image (width, height) with objects (class, box (x, y, w, h), whether it is difficult)."""
    xml = "<size><width>{}</width><height>{}</height><depth>3</depth></size>".format(*size)
    for name, (x, y, w, h), difficult in objects:
        # VOC counts pixels from 1 and includes the last one.
        box = f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
        flags = f"<pose>Unspecified</pose><truncated>0</truncated><difficult>{int(difficult)}</difficult>"
        xml += f"<object><name>{name}</name>{flags}<bndbox>{box}</bndbox></object>"
    return f"<annotation>{xml}</annotation>"
