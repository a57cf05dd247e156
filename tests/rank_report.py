"""What each rank of several processes does and sees; a module that new processes can import."""

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import contextlib
import hashlib
import io
import json
from pathlib import Path

from detectron2.data import DatasetCatalog
from detectron2.engine import hooks
from detectron2.utils import comm
from listening import listens_on
from supernet_runs import find_supernet
from voc_guesses import process

import train_net
from detnas.data.datasets import register_dataset
from detnas.evaluation.voc import VOCEvaluator
from detnas.launch.setup import setup
from detnas.training.trainer import build_trainer


def digest(model):
    sha256 = hashlib.sha256()
    for name, parameter in model.named_parameters():
        sha256.update(name.encode() + parameter.detach().numpy().tobytes())
    return sha256.hexdigest()


def train(args):
    """Train, and write what this rank did to rank{n}.json in the output folder."""
    cfg = setup(args)
    trainer = build_trainer(cfg)
    model, paths, images = trainer.model, [], []
    trainer.register_hooks([hooks.CallbackHook(after_step=lambda t: paths.append(find_supernet(t.model).path))])
    model.register_forward_pre_hook(lambda module, inputs: images.append([x["image_id"] for x in inputs[0]]))
    report = {"world_size": comm.get_world_size(), "norm": cfg.MODEL.DETNAS.NORM, "before": digest(model)}
    trainer.train(0, cfg.SOLVER.MAX_ITER)
    report.update(after=digest(model), paths=paths, images=images, listens_on=listens_on())
    write(cfg.OUTPUT_DIR, report)


def evaluate(root):
    """Evaluate this rank's share of VOC 2007's test images; writes the results of all ranks and of this one."""
    name = f"voc:{root}/VOC2007:test"
    register_dataset(name)
    images, step = DatasetCatalog.get(name), comm.get_world_size()
    evaluators = [VOCEvaluator(name, distributed) for distributed in (True, False)]
    write(root, [process(evaluator, images, comm.get_rank(), step).evaluate() for evaluator in evaluators])


def refused(folder, args):
    """Try a training that must fail; writes its exit code and its errors."""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            train_net.main(args)
        except SystemExit as e:
            write(folder, [e.code, [line for line in said.getvalue().splitlines() if line.startswith("error: ")]])


def write(folder, report):
    (Path(folder) / f"rank{comm.get_rank()}.json").write_text(json.dumps(report))


def main(args):
    """Do everything in one start, since each start takes long."""
    for folder, training in args.mistakes.items():
        refused(folder, training)
    for training in args.trainings:
        train(training)
    evaluate(args.voc)
