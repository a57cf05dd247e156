"""
What benchmarks/candidate.py runs in processes of its own: the two of the reference protocol, and our evaluator.

    python benchmarks/candidate_parts.py PART CONFIG SETTINGS

SETTINGS is a JSON dict; the last line printed is one, too.
"""

import contextlib
import io
import json
import resource
import sys
import time

START = time.perf_counter()

import detnas  # isort: skip  # noqa: E402, F401  its time counts
import torch  # noqa: E402
from detectron2.data import MapDataset, build_detection_test_loader  # noqa: E402
from detectron2.evaluation import COCOEvaluator  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402
from detectron2.utils.events import EventStorage  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from detnas.batch_norm.recalibration import build_recalibration_batches  # noqa: E402
from detnas.command_line import argument_parser  # noqa: E402
from detnas.data.fixed_batches import in_batches  # noqa: E402
from detnas.data.mapper import build_mapper, build_recalibration_mapper  # noqa: E402
from detnas.evaluation.evaluators import BoxEvaluator  # noqa: E402
from detnas.launch.setup import setup  # noqa: E402
from detnas.modeling.backbone import find_supernet  # noqa: E402
from detnas.modeling.weights import load_weights  # noqa: E402
from detnas.search.evaluator import CandidateEvaluator, flatten  # noqa: E402


class Phases(dict):
    """``with phases("name"):`` adds the seconds of the block."""

    @contextlib.contextmanager
    def __call__(self, name):
        start = time.perf_counter()
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self[name] = self.get(name, 0.0) + time.perf_counter() - start


def build(cfg, settings, file, phases):
    with phases("build"):
        model = build_model(cfg)
        find_supernet(model).path = settings["paths"][0]
    with phases("load"):
        load_weights(model, file)
    return model


def recalibrate(cfg, settings, phases):
    """First process of the reference: statistics from passes in training mode with all losses; writes a checkpoint."""
    model = build(cfg, settings, settings["weights"], phases)
    with phases("loaders"):
        batches = build_recalibration_batches(cfg).batches
        dicts = [x for batch in batches for x in batch]
        dicts = (dicts * (settings["images"] // len(dicts) + 1))[: settings["images"]]
        batch = cfg.SEARCH.RECALIBRATION_BATCH
        loader = DataLoader(
            MapDataset(dicts, build_recalibration_mapper(cfg)), batch, collate_fn=list, num_workers=settings["workers"]
        )
    with phases("recalibration"):
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                # As an average over all batches: the moving one forgets, and with few batches keeps the old state.
                module.momentum = None
                module.reset_running_stats()
        torch.manual_seed(0)
        with torch.no_grad(), EventStorage():
            for images in loader:
                sum(model(images).values())
    with phases("write"):
        torch.save({"model": model.state_dict()}, settings["checkpoint"])


def evaluate(cfg, settings, phases):
    """Second process of the reference: Detectron2's plain inference, image by image, and pycocotools."""
    model = build(cfg, settings, settings["checkpoint"], phases)
    name = cfg.DATASETS.TEST[0]
    with phases("loaders"):
        loader = build_detection_test_loader(
            cfg, name, mapper=build_mapper(cfg, is_train=False), num_workers=settings["workers"]
        )
        metric = COCOEvaluator(name, ("bbox",), distributed=False, use_fast_impl=False)
        metric.reset()
    with phases("evaluation"), torch.no_grad():
        model.eval()
        for images in loader:
            metric.process(images, model(images))
    with phases("metric"):
        return [flatten(metric.evaluate())["bbox/AP"]]


def ours(cfg, settings, phases):
    """Our evaluator over all paths; the passes alone; Detectron2's plain inference of the same images."""
    with phases("build and load"):
        evaluator = CandidateEvaluator(cfg, settings["weights"])
        # The box metric for all kinds of data sets, so that the figures can be compared.
        assert isinstance(evaluator.metric, BoxEvaluator)
    with phases("first candidate"):
        evaluator(settings["paths"][0])
    scores, model = [], evaluator.model
    for path in settings["paths"]:
        evaluator.supernet.path = path
        with phases("recalibration"):
            evaluator.recalibrate()
        with phases("evaluation"):
            evaluator.predict()
        with phases("metric"):
            scores.append(evaluator.score()["bbox/AP"])
        with phases("passes: recalibration"), torch.no_grad(), EventStorage(), evaluator.autocast():
            model.train()
            for op in evaluator.supernet.unsampled_ops():
                op.eval()
            for images in evaluator.recalibration:
                evaluator.forward_to_last_norm(images)
            model.eval()
        # The passes just now moved the statistics: the same again for what follows.
        evaluator.recalibrate()
        with evaluator.inference(), phases("passes: evaluation"):
            for images in evaluator.held_out:
                model(images)
        singles = in_batches([x for images in evaluator.held_out for x in images], 1)
        with phases("plain inference"), torch.no_grad():
            for images in singles:
                model(images)
    counts = {"recalibration images": sum(map(len, evaluator.recalibration.batches)), "held-out images": len(singles)}
    return scores, {name: value / len(scores) for name, value in phases.items()}, counts


def main(part, config, settings):
    settings = json.loads(settings)
    phases = Phases()
    phases["imports"] = time.perf_counter() - START
    opts = ["OUTPUT_DIR", settings["output"], "MODEL.WEIGHTS", "", *settings["opts"]]
    with contextlib.redirect_stdout(io.StringIO()), phases("set-up"):
        cfg = setup(argument_parser("").parse_args(["--config-file", config, *map(str, opts)]))
    with contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(0)
        found = {"recalibrate": recalibrate, "evaluate": evaluate, "ours": ours}[part](cfg, settings, phases)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"phases": phases, "memory_gb": memory, "found": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
