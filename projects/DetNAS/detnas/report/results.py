"""Networks that were trained alone, in one table as the paper's Tables 2 and 3: multiply-adds, top-1, AP."""

import os
import re

from tabulate import tabulate

from detnas.config.keys import config_space
from detnas.cost.detector import detector_costs
from detnas.cost.table import CostTable
from detnas.errors import UserError
from detnas.launch.earlier_steps import read_metrics
from detnas.zoo import PUBLISHED, resolve_arch

from .runs import read_run
from .searches import search_labels

TOP1 = "classification/top1"
BOX = ("AP", "AP50", "AP75", "APs", "APm", "APl")
#: Detectron2's names of what the paper calls FPN, and of this project's classifier
_DETECTORS = {"GeneralizedRCNN": "Faster R-CNN", "ImageClassifier": "classifier"}


def results_table(folders):
    """
    Markdown: a row for each output folder of a finished training of one network, with AP in percent on the test images
    and top-1 of its pre-training where that is at hand; columns in which all rows are empty are left out.

    Raises:
        UserError: naming the folder, and what it lacks.
    """
    rows = [{"folder": label, **_row(read_run(folder))} for folder, label in search_labels(folders).items()]
    names = [name for name in rows[0] if any(row[name] != "" for row in rows)]
    return tabulate([[row[name] for name in names] for row in rows], names, tablefmt="github", disable_numparse=True)


def _row(run):
    if run.is_supernet:
        raise UserError(f"{run.folder} is the folder of a supernet; the table is of networks that were trained alone")
    name, flops = _network(run)
    sets = run.cfg.DATASETS.TEST
    # Results on several sets have their names before them; the first set counts.
    prefix = f"{sets[0]}/" if len(sets) > 1 else ""
    last = _last(run, prefix + (TOP1 if run.is_classifier else "bbox/AP50"))
    top1 = last[prefix + TOP1] if run.is_classifier else pretrained_top1(run.cfg.MODEL.WEIGHTS)
    found = {"top-1": top1, **{name: last.get(f"{prefix}bbox/{name}") for name in BOX}}
    return {
        "network": name,
        "M multiply-adds": f"{flops / 1e6:.1f}",
        "detector": _DETECTORS.get(run.cfg.MODEL.META_ARCHITECTURE, run.cfg.MODEL.META_ARCHITECTURE),
        "tested on": _short(sets[0]),
        **{name: "" if value is None else f"{value:.1f}" for name, value in found.items()},
    }


def _network(run):
    """Its name, and the multiply-adds of its backbone for an image of 224x224."""
    cfg = run.cfg
    if not run.has_detnas:
        name = f"ResNet-{cfg.MODEL.RESNETS.DEPTH}" if "resnet" in cfg.MODEL.BACKBONE.NAME else cfg.MODEL.BACKBONE.NAME
        return name, detector_costs(cfg, (224, 224))["backbone"]["flops"]
    space = config_space(cfg)
    path = resolve_arch(cfg.MODEL.DETNAS.ARCH, space)
    arch = space.format(path)
    published = [name for name, network in PUBLISHED.items() if (network.space, network.arch) == (space.name, arch)]
    return (published or [arch])[0], CostTable.measure(space).flops(path)


def _last(run, metric):
    """The line of the evaluation at the end of the training."""
    found = [line for line in run.lines if metric in line]
    if not found:
        raise UserError(f"{run.folder} holds no {metric} in metrics.json: the training was not evaluated, or not yet")
    done, whole = found[-1]["iteration"], run.cfg.SOLVER.MAX_ITER
    # The evaluation at the end has the number after the last iteration.
    if done < whole:
        raise UserError(f"{run.folder} was evaluated last after {done + 1} of {whole} iterations: it is not finished")
    return found[-1]


def pretrained_top1(weights):
    """
    Top-1 on the validation images, in percent, of the classifier that a training starts from, by metrics.json beside
    its weights; None if there is none, or one of something else.
    """
    found = [line[TOP1] for line in read_metrics(os.path.dirname(weights)) if TOP1 in line] if weights else []
    return found[-1] if found else None


def _short(name):
    """A data set: of one that says where its data lies, the file or folder that tells it from others."""
    # As data/datasets.py reads it.
    form, *parts = re.split(r":(?!//)", name)
    return os.path.basename(parts[0] if form in ("coco", "folder") else parts[-1]) if parts else name
