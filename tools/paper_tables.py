#!/usr/bin/env python
"""
Print tables like the paper's about your output folders, in Markdown.

    python tools/paper_tables.py results FOLDER [FOLDER ...]    multiply-adds, top-1 and AP of networks (Tables 2, 3);
                                                                on EuroCityPersons miss rates beside published ones
    python tools/paper_tables.py times FOLDER [FOLDER ...]      iterations or candidates, seconds, devices (Table 4)
"""

import argparse
import os
import re
from dataclasses import dataclass
from typing import List

import detnas.command_line  # isort: skip  # noqa: F401  first: from here on Ctrl-C is told in a word
from detnas import CostTable  # isort: skip  # it mends Detectron2 0.6
import elasticdet  # isort: skip  # noqa: F401  it registers its keys
import pretrained  # isort: skip  # noqa: F401  it registers its keys
import spnas.zoo  # isort: skip  # it registers its networks and keys
from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager
from tabulate import tabulate

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.cost.detector import detector_costs
from detnas.data.ecp import DIFFICULTIES, TYPES
from detnas.data.mapper import is_classifier
from detnas.errors import UserError, user_errors
from detnas.launch.outputs import read_metrics
from detnas.report.searches import search_labels
from detnas.search.log import read_log
from detnas.zoo import PUBLISHED, SUPERNET, resolve_arch

TOP1 = "classification/top1"
#: column -> metric
BOX = {name: f"bbox/{name}" for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")}
LAMR = {f"{kind}, {name}": f"lamr/{kind}-{name}" for kind in TYPES for name in DIFFICULTIES}
UNKNOWN = "unknown"
CASCADE = "Cascade R-CNN"
#: META_ARCHITECTURE -> name in the table
_DETECTORS = {"GeneralizedRCNN": "Faster R-CNN", "ImageClassifier": "classifier"}


@dataclass(frozen=True)
class Run:
    """A training: output folder, config as fitted to the machine, lines of metrics.json as :func:`trained_last`."""

    folder: str
    cfg: CfgNode
    lines: List[dict]

    @property
    def has_detnas(self):
        """Whether the backbone is one of DetNAS."""
        return "detnas" in self.cfg.MODEL.BACKBONE.NAME

    @property
    def is_supernet(self):
        return self.has_detnas and self.cfg.MODEL.DETNAS.ARCH == SUPERNET

    @property
    def is_classifier(self):
        return is_classifier(self.cfg)


def read_run(folder):
    """The training in an output folder; UserError if there is none."""
    config = os.path.join(folder, "config.yaml")
    if not PathManager.isfile(config):
        raise UserError(f"{folder} holds no config.yaml, which train_net.py leaves in its OUTPUT_DIR")
    return Run(folder, load_config(config), trained_last(read_metrics(folder)))


def trained_last(lines):
    """Lines of metrics.json without iterations that were trained again, after ``--resume`` or a new start."""
    kept, last = [], -1
    for line in lines:
        # An evaluation may stand before iterations that it followed; only lines of training show a new start.
        if "total_loss" in line:
            if line["iteration"] <= last:
                kept = [other for other in kept if other["iteration"] < line["iteration"]]
            last = line["iteration"]
        kept.append(line)
    return kept


def results_table(folders):
    """
    A row for each folder of a finished training of one network, in percent: AP on the test images, top-1 of the
    pre-training if known, log-average miss rates (lower is better) above published ones. No column is empty.
    """
    rows = [{"folder": label, **_result(read_run(folder))} for folder, label in search_labels(folders).items()]
    if any(row[name] for row in rows for name in LAMR):
        rows += _published_miss_rates()
    names = [name for name in rows[0] if any(row.get(name) for row in rows)]
    cells = [[row.get(name, "") for name in names] for row in rows]
    return tabulate(cells, names, tablefmt="github", disable_numparse=True)


def _published_miss_rates():
    """A row for each network and source."""
    for name, network in spnas.PUBLISHED.items():
        for source, said in {"P": "the paper", "G": "its group's table"}.items():
            rates = {f"pedestrian, {each}": network.figures.get(spnas.zoo.LAMR.format(each), {}).get(source)
                     for each in DIFFICULTIES}
            if any(rates.values()):
                shown = {column: f"{100 * rate:.1f}" for column, rate in rates.items() if rate}
                yield {"folder": f"published: {said}", "network": name, "detector": CASCADE, **shown}


def _result(run):
    if run.is_supernet:
        raise UserError(f"{run.folder} is the folder of a supernet; the table is of networks that were trained alone")
    name, flops = _network(run)
    sets = run.cfg.DATASETS.TEST
    # With several test sets, names of metrics begin with the set's; the first set counts.
    prefix = f"{sets[0]}/" if len(sets) > 1 else ""
    last = _last(run, prefix + (TOP1 if run.is_classifier else "bbox/AP50"))
    top1 = last[prefix + TOP1] if run.is_classifier else _pretrained_top1(run.cfg.MODEL.WEIGHTS)
    found = {"top-1": top1, **{name: last.get(prefix + metric) for name, metric in {**BOX, **LAMR}.items()}}
    return {"network": name, "M multiply-adds": f"{flops / 1e6:.1f}", "detector": _detector(run.cfg),
            "tested on": _short(sets[0]),
            **{name: "" if value is None else f"{value:.1f}" for name, value in found.items()}}


def _detector(cfg):
    if cfg.MODEL.ROI_HEADS.NAME == "CascadeROIHeads":
        return CASCADE
    return _DETECTORS.get(cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.META_ARCHITECTURE)


def _network(run):
    """Its name, and the multiply-adds of its backbone at 224x224."""
    cfg = run.cfg
    if not run.has_detnas:
        name = f"ResNet-{cfg.MODEL.RESNETS.DEPTH}" if "resnet" in cfg.MODEL.BACKBONE.NAME else cfg.MODEL.BACKBONE.NAME
        if spnas.uses_spnas(cfg):
            name = cfg.MODEL.SPNAS.CODE
            name = next((known for known, network in spnas.PUBLISHED.items() if network.code == name), name)
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


def _pretrained_top1(weights):
    """Top-1 in percent in metrics.json beside the initial weights, or None."""
    found = [line[TOP1] for line in read_metrics(os.path.dirname(weights)) if TOP1 in line] if weights else []
    return found[-1] if found else None


def _short(name):
    """Name of a data set in the table: of a name with paths, the file or folder that tells it from others."""
    # As data/datasets.py reads it.
    form, *parts = re.split(r":(?!//)", name)
    if not parts or form == "ecp":
        return name.rpartition(":")[2]
    return os.path.basename(parts[0 if form in ("coco", "folder") else -1])


def times_table(folders):
    """A row for each training and search in the folders, and the sum of device hours; "unknown" if not recorded."""
    steps = [(label, *step) for folder, label in search_labels(folders).items() for step in _steps(folder)]
    rows = [[*step[:3], _or_unknown(step[3], ".0f"), step[4], _or_unknown(step[5], ".2f")] for step in steps]
    hours = [step[5] for step in steps]
    if len(steps) > 1 and None not in hours:
        rows.append(["all", "", "", "", "", f"{sum(hours):.2f}"])
    headers = ("folder", "step", "done", "seconds", "devices", "device hours")
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def _or_unknown(value, form):
    return UNKNOWN if value is None else format(value, form)


def _steps(folder):
    """(step, what was done, seconds, devices, device hours) of the training and of the search in a folder."""
    holds = {name: PathManager.isfile(os.path.join(folder, name)) for name in ("config.yaml", "search.jsonl")}
    if not any(holds.values()):
        raise UserError(f"{folder} holds no config.yaml of train_net.py and no search.jsonl of search_net.py")
    return ([_training(read_run(folder))] if holds["config.yaml"] else []) + (
        [_search(read_log(folder))] if holds["search.jsonl"] else []
    )


def _training(run):
    step = f"{'supernet' if run.is_supernet else 'network'} {'as classifier' if run.is_classifier else 'on detection'}"
    done = max((line["iteration"] + 1 for line in run.lines if "total_loss" in line), default=0)
    whole = run.cfg.SOLVER.MAX_ITER
    amount = f"{done} of {whole} iterations" if done < whole else _plural(whole, "iteration")
    seconds, processes = training_seconds(run.lines), _processes(run)
    kind = "GPU" if run.cfg.MODEL.DEVICE.startswith("cuda") else "CPU process"
    devices = UNKNOWN if processes is None else _plural(processes, kind)
    hours = None if None in (seconds, processes) else seconds * processes / 3600
    return step, amount, seconds, devices, hours


def training_seconds(lines):
    """
    Seconds of the iterations in lines of metrics.json, without evaluations and checkpoints; None without times. A line
    has the median of the last 20 iterations, so that a pause of the machine does not count.
    """
    timed = [line for line in lines if "time" in line]
    before = [-1, *(line["iteration"] for line in timed)]
    return sum(line["time"] * (line["iteration"] - last) for line, last in zip(timed, before)) if timed else None


def _processes(run):
    """Processes that trained in the end, one a GPU if there are any; None if unknown."""
    solver = run.cfg.SOLVER
    if solver.REFERENCE_WORLD_SIZE:
        # The config is fitted to the processes; one that takes n parts of a batch counts as n.
        return solver.REFERENCE_WORLD_SIZE // solver.ACCUMULATE
    # Each process has a log: log.txt, log.txt.rank1, ...
    logs = [name for name in PathManager.ls(run.folder) if name.startswith("log.txt")]
    return len(logs) or None


def _search(log):
    history = log.history()
    seconds = sum(candidate.seconds for candidate in history)
    workers = {candidate.worker for candidate in history if candidate.worker}
    devices = _plural(len(workers), "worker") if workers else UNKNOWN
    # A candidate takes one worker.
    return "search", _plural(len(history), "candidate"), seconds, devices, seconds / 3600


def _plural(number, word):
    ending = "" if number == 1 else "es" if word.endswith("s") else "s"
    return f"{number} {word}{ending}"


TABLES = {"results": results_table, "times": times_table}


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="output folder")
    return parser


def main(argv=None):
    args = parser().parse_args(argv)
    with user_errors():
        print(TABLES[args.table](args.folders))


if __name__ == "__main__":
    main()
