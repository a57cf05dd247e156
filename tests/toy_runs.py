"""Short runs on the generated data of the fixture ``toy_root``."""

import contextlib
import logging
import os
from pathlib import Path

import pytest
from detectron2.modeling import build_model
from detectron2.utils import logger as detectron2_logger

from detnas.command_line import argument_parser
from detnas.config.load import load_config
from detnas.launch.setup import setup

DEMO = Path(__file__).resolve().parents[1] / "configs" / "demo"
RETINANET = str(DEMO.parent / "COCO" / "Base-RetinaNet.yaml")
#: device of all runs and models; DETNAS_TEST_DEVICE=cuda tries a GPU
DEVICE = os.environ.get("DETNAS_TEST_DEVICE", "cpu")
if DEVICE == "cpu":
    # Commands that a test starts see no GPU either.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
on_a_cpu = pytest.mark.skipif(DEVICE != "cpu", reason="a GPU adds up a detector's gradients in any order")
#: makes any config of the demo run in a moment, in this process
SHORT = {
    "MODEL.DEVICE": DEVICE,
    "DATALOADER.NUM_WORKERS": 0,
    "INPUT.MIN_SIZE_TRAIN": "(64,)",
    "INPUT.MAX_SIZE_TRAIN": 64,
    "INPUT.MIN_SIZE_TEST": 64,
    "INPUT.MAX_SIZE_TEST": 64,
    "INPUT.CLASSIFIER.SIZE": 32,
    "SOLVER.IMS_PER_BATCH": 4,
    "SOLVER.WARMUP_ITERS": 2,
    "SUPERNET.EVAL_RANDOM_PATHS": 0,
}
#: makes any search small; it does not set the generations
SMALL_SEARCH = {
    "SEARCH.POPULATION": 4,
    "SEARCH.NUM_PARENTS": 2,
    "SEARCH.NUM_MUTATE": 2,
    "SEARCH.NUM_CROSS": 1,
    "SEARCH.RECALIBRATION_IMAGES": 4,
}


def classification(root):
    """Overrides for the generated classification set."""
    return {
        "DATASETS.TRAIN": f"('folder:{root}/classification/train',)",
        "DATASETS.TEST": f"('folder:{root}/classification/val',)",
    }


def detection(root, test="val"):
    """Overrides for the generated detection set."""
    names = {split: f"coco:{root}/detection/{split}.json:{root}/detection/{split}" for split in ("train", test)}
    return {"DATASETS.TRAIN": f"('{names['train']}',)", "DATASETS.TEST": f"('{names[test]}',)"}


def result(log):
    """The part of a log that is equal in all searches with the same settings."""
    return [
        (str(c.network), c.generation, c.score, c.metrics, c.costs, tuple(map(str, c.parents))) for c in log.history()
    ]


#: kind of supernet -> config of the demo, and function that gives its overrides
TASKS = {
    "classifier": ("toy_1_pretrain_supernet", classification),
    "detector": ("toy_2_train_supernet", detection),
}
#: makes ``RETINANET`` small
SMALL_RETINANET = {"MODEL.DETNAS.SPACE": "tiny", "MODEL.FPN.OUT_CHANNELS": 16, "SOLVER.REFERENCE_WORLD_SIZE": 0}


def retinanet(root):
    """Overrides for ``RETINANET`` with a norm for each level in its head."""
    # Its first scores are about 0.01.
    head = {"MODEL.RETINANET.NORM": "BN", "MODEL.RETINANET.SCORE_THRESH_TEST": 0.0}
    return {**detection(root), **SMALL_RETINANET, **head}


def bare_config(overrides):
    """Detectron2's default config with the keys of DetNAS, and plain batch norm in the backbone."""
    cfg = load_config(None)
    for key, value in {"MODEL.DEVICE": DEVICE, "MODEL.DETNAS.NORM": "BN", **overrides}.items():
        # An arch of digits is no number.
        cfg.merge_from_list([key, repr(value) if isinstance(value, str) else value])
    return cfg


def build_classifier(space, arch, overrides=()):
    """A classifier of a path, or a supernet."""
    model = {"META_ARCHITECTURE": "ImageClassifier", "BACKBONE.NAME": "build_detnas_classifier_backbone"}
    model.update({"DETNAS.SPACE": space, "DETNAS.ARCH": arch})
    return build_model(bare_config({**{f"MODEL.{key}": value for key, value in model.items()}, **dict(overrides)}))


def command(config, overrides, *flags, parser=None):
    """A script's parsed arguments; ``config`` is the name of a demo's config, or a path."""
    path = config if "/" in str(config) else DEMO / f"{config}.yaml"
    words = [str(word) for pair in {**SHORT, **overrides}.items() for word in pair]
    return (parser or argument_parser()).parse_args(["--config-file", str(path), *flags, *words])


def toy_setup(config, overrides):
    """The frozen config of a run in this process; only the log is written."""
    return setup(command(config, overrides))


def dotted(settings):
    """Overrides from keyword arguments such as ``SEARCH__POPULATION=4``."""
    return {name.replace("__", "."): value for name, value in settings.items()}


def measure_little(monkeypatch):
    """Measure latencies quickly, of few networks."""
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    for name, value in {"FEWEST": 2, "MOST": 2}.items():
        monkeypatch.setattr(f"detnas.export.detector_latency.{name}", value)
    for name, value in {"RUNS": 2, "FITTED": 0, "HELD_OUT": 2}.items():
        monkeypatch.setattr(f"detnas.export.latency_predictor.{name}", value)


def tree(folder):
    """Path -> content of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def own_loggers():
    """Remove the handlers that a run adds to these loggers: they are bound to its stdout."""
    loggers = [logging.getLogger(name) for name in ("fvcore", "detectron2", "detnas")]
    before = [(named, named.level, named.propagate, list(named.handlers)) for named in loggers]
    detectron2_logger.setup_logger.cache_clear()
    try:
        yield
    finally:
        for named, level, propagate, handlers in before:
            for handler in set(named.handlers) - set(handlers):
                named.removeHandler(handler)
                handler.close()
            named.setLevel(level)
            named.propagate = propagate
        detectron2_logger.setup_logger.cache_clear()
