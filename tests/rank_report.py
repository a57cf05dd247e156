"""A training that every rank reports about; a module of its own, so that new processes can import it."""

import detnas  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import hashlib
import json
from pathlib import Path

from detectron2.engine import hooks
from detectron2.utils import comm

from detnas.launch.setup import setup
from detnas.modeling.backbone import find_supernet
from detnas.training.trainer import build_trainer


def digest(model):
    sha256 = hashlib.sha256()
    for name, parameter in model.named_parameters():
        sha256.update(name.encode() + parameter.detach().numpy().tobytes())
    return sha256.hexdigest()


def main(args):
    """Train, and write what this rank did to rank{n}.json in the output folder."""
    cfg = setup(args)
    trainer = build_trainer(cfg)
    model, paths, images = trainer.model, [], []
    # Hooks run in the order of their registration: the path of the iteration is set by now.
    trainer.register_hooks([hooks.CallbackHook(before_step=lambda t: paths.append(find_supernet(t.model).path))])
    model.register_forward_pre_hook(lambda module, inputs: images.append([x["image_id"] for x in inputs[0]]))
    report = {"world_size": comm.get_world_size(), "norm": cfg.MODEL.DETNAS.NORM, "before": digest(model)}
    trainer.train(0, cfg.SOLVER.MAX_ITER)
    report.update(after=digest(model), paths=paths, images=images)
    (Path(cfg.OUTPUT_DIR) / f"rank{comm.get_rank()}.json").write_text(json.dumps(report))
