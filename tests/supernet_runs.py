"""Supernets of the demo with random weights, and batches, for tests of batch norms."""

import random

import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from toy_runs import toy_setup

from detnas.data.mapper import build_recalibration_mapper
from detnas.modeling.backbone import DetNASSupernet
from detnas.modeling.choices import activate

PATH, OTHER = (2, 1, 3, 0, 1, 2, 0, 3), (0, 0, 1, 1, 2, 2, 3, 3)


def model_and_batches(name, data, toy_root, folder):
    """A supernet with random weights and statistics, and batches of 3, 3 and 2 images."""
    cfg = toy_setup(name, {**data(toy_root), "MODEL.WEIGHTS": "", "OUTPUT_DIR": folder})
    torch.manual_seed(0)
    model = build_model(cfg)
    for norm in norms(model):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    mapper = build_recalibration_mapper(cfg)
    samples = random.Random(0).sample(DatasetCatalog.get(cfg.DATASETS.TRAIN[0]), 8)
    images = [mapper(sample) for sample in samples]
    activate(model, find_supernet(model).space, PATH)
    return model, [images[:3], images[3:6], images[6:]]


def find_supernet(model):
    """The supernet inside a model."""
    return next(m for m in model.modules() if isinstance(m, DetNASSupernet))


def norms(model):
    return [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def statistics(module):
    return {n: b.clone() for n, b in module.named_buffers() if n.endswith(("running_mean", "running_var"))}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
