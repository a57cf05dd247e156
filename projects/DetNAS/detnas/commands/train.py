"""``train_net.py``: train what a config describes, or evaluate it."""

import os

from detectron2.modeling import build_model
from detectron2.utils import comm

from detnas.config.keys import config_space
from detnas.cost.limits import LATENCY, Limits
from detnas.data.mapper import is_classifier
from detnas.errors import user_errors
from detnas.evaluation.evaluators import evaluate
from detnas.evaluation.fixed_paths import FixedPathsEvaluation
from detnas.export.network import network_weights
from detnas.launch.earlier_steps import BEST_WEIGHTS
from detnas.launch.setup import save_config, setup
from detnas.modeling.backbone import find_supernet
from detnas.modeling.weights import load_weights
from detnas.search.paths import build_searcher, check_metric, initial_paths
from detnas.training.trainer import build_trainer, lock_output_folder
from detnas.zoo import SUPERNET


def train(args):
    """Train, or evaluate with ``--eval-only``; in each process of a run."""
    with user_errors():
        cfg = setup(args)
        if args.eval_only:
            return evaluate_only(cfg, args)
        refuse_winner(cfg, args.config_file)
        if not cfg.DATASETS.TRAIN:
            raise ValueError("DATASETS.TRAIN is empty: name what to train on")
        if cfg.MODEL.DETNAS.ARCH == SUPERNET and cfg.DATASETS.TEST and not is_classifier(cfg):
            check_search(cfg)
        with lock_output_folder(cfg.OUTPUT_DIR):
            trainer = build_trainer(cfg, args.resume)
            save_config(cfg)
            trainer.train(trainer.start_iter, cfg.SOLVER.MAX_ITER)


def evaluate_only(cfg, args):
    """The results on ``DATASETS.TEST``; of a supernet, those of the paths that are evaluated during its training."""
    model = build_model(cfg)
    load_weights(model, network_weights(args.config_file, cfg, args.opts))
    if not find_supernet(model):
        return evaluate(cfg, model)
    evaluation = FixedPathsEvaluation(cfg, model)
    results = evaluation()
    if comm.is_main_process():
        print(evaluation.table(results))
    return results


def refuse_winner(cfg, file):
    """
    Raises:
        ValueError: if the config is a search's best.yaml.
    """
    if cfg.SEARCH.WINNER:
        weights = os.path.join(os.path.dirname(file), BEST_WEIGHTS)
        raise ValueError(
            f"{file} is what a search found and trains nothing, since it tests on the images that chose the winner: "
            f"give MODEL.DETNAS.ARCH {file} to a config of step 4, with MODEL.WEIGHTS {weights} to go on from the "
            "supernet's weights, or evaluate it as it is with --eval-only"
        )


def check_search(cfg):
    """
    What can be known of the search before the supernet is trained, hours earlier.

    Raises:
        FileNotFoundError, ValueError: if ``search_net.py`` will refuse the config.
    """
    check_metric(cfg)
    cfg = cfg.clone()
    cfg.defrost()
    # A latency is that of the machine that searches.
    limits = [text for text in cfg.SEARCH.CONSTRAINTS if LATENCY not in text]
    if len(limits) < len(cfg.SEARCH.CONSTRAINTS):
        cfg.SEARCH.OBJECTIVES = [name for name in cfg.SEARCH.OBJECTIVES if name != LATENCY]
    cfg.SEARCH.CONSTRAINTS = limits
    limits = Limits(cfg, config_space(cfg))
    build_searcher(cfg, limits, initial_paths(cfg, limits))
