"""``train_net.py``: trains or evaluates the network of a config."""

import json
import os

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager

from detnas.data.datasets import check_unchanged, fingerprints
from detnas.errors import UserError, user_errors
from detnas.evaluation.evaluators import evaluate
from detnas.evaluation.fixed_paths import FixedPathsEvaluation
from detnas.files import read_json, write_text
from detnas.launch.outputs import network_weights
from detnas.launch.setup import save_config, setup
from detnas.modeling.builders import build_network
from detnas.modeling.choices import is_supernet
from detnas.modeling.weights import load_weights
from detnas.search.method import get_method
from detnas.training.trainer import build_trainer, lock_output_folder

#: file with the :func:`detnas.data.datasets.fingerprints` of a training's data sets
DATA = "data.json"


def train(args):
    """Train, or evaluate with ``--eval-only``; runs in each process."""
    with user_errors():
        cfg = setup(args)
        if args.eval_only:
            return evaluate_only(cfg, args)
        refuse_winner(cfg, args.config_file)
        if not cfg.DATASETS.TRAIN:
            raise UserError("DATASETS.TRAIN is empty: name what to train on")
        if cfg.DATASETS.TEST:
            get_method(cfg.SEARCH.METHOD).check_before_training(cfg)
        with lock_output_folder(cfg.OUTPUT_DIR):
            data = fingerprints((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST))
            file = os.path.join(cfg.OUTPUT_DIR, DATA)
            if args.resume:
                check_unchanged(read_json(file, {}, {"": str}, PathManager), data, f"the training in {cfg.OUTPUT_DIR}")
            trainer = build_trainer(cfg, args.resume)
            save_config(cfg)
            if comm.is_main_process():
                write_text(file, json.dumps(data, indent=1), PathManager)
                last = os.path.join(cfg.OUTPUT_DIR, "last_checkpoint")
                # Else --resume would go on from an earlier training, until this one has a checkpoint.
                if not args.resume and PathManager.exists(last):
                    PathManager.rm(last)
            trainer.train(trainer.start_iter, cfg.SOLVER.MAX_ITER)


def evaluate_only(cfg, args):
    """The results on ``DATASETS.TEST``; for a supernet, of the paths that its training also evaluates."""
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty: name what to evaluate on")
    model = build_network(cfg)
    load_weights(model, network_weights(args.config_file, cfg, args.opts))
    if not is_supernet(model):
        return evaluate(cfg, model)
    evaluation = FixedPathsEvaluation(cfg, model)
    results = evaluation()
    if comm.is_main_process():
        print(evaluation.table(results))
    return results


def refuse_winner(cfg, file):
    if cfg.SEARCH.WINNER:
        weights = os.path.join(os.path.dirname(file), cfg.MODEL.WEIGHTS)
        network = f"MODEL.DETNAS.ARCH {file}" if "detnas" in cfg.MODEL.BACKBONE.NAME else "its network"
        raise UserError(
            f"{file} is what a search found and trains nothing, since it tests on the images that chose the winner: "
            f"give {network} to a config of step 4, with MODEL.WEIGHTS {weights} to go on from the search's weights, "
            "or evaluate it as it is with --eval-only"
        )
