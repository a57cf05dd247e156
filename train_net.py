#!/usr/bin/env python
"""
Steps 1, 2 and 4 of DetNAS; the config says which:

    python train_net.py --num-gpus 8                            step 2 on COCO, the paper's small space
    python train_net.py --config-file configs/demo/toy_1_pretrain_supernet.yaml
    python train_net.py --config-file CONFIG --num-gpus 8 MODEL.WEIGHTS PRETRAINED.pth
    python train_net.py --config-file CONFIG --eval-only        model_final.pth of CONFIG, or MODEL.WEIGHTS FILE
    python train_net.py --config-file CONFIG --resume
    python train_net.py --config-file CONFIG_OF_STEP_4 MODEL.DETNAS.ARCH FOLDER/best.yaml MODEL.WEIGHTS FOLDER/best.pth
"""

import os

import detnas  # isort: skip  # noqa: F401  first: it registers the networks and mends Detectron2 0.6
from detectron2.modeling import build_model
from detectron2.utils import comm

from detnas.engine.evaluation import evaluate
from detnas.engine.export import network_weights
from detnas.engine.fixed_paths import FixedPaths
from detnas.engine.found import BEST_WEIGHTS
from detnas.engine.setup import argument_parser, launch, save_config, setup, user_errors
from detnas.engine.trainer import build_trainer, only_run
from detnas.modeling.backbone import find_supernet
from detnas.modeling.weights import load_weights


def evaluate_only(cfg, args):
    """The results on ``DATASETS.TEST``; of a supernet, those of the paths that are evaluated during its training."""
    model = build_model(cfg)
    load_weights(model, network_weights(args.config_file, cfg, args.opts))
    if not find_supernet(model):
        return evaluate(cfg, model)
    evaluation = FixedPaths(cfg, model)
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


def main(args):
    with user_errors():
        cfg = setup(args)
        if args.eval_only:
            return evaluate_only(cfg, args)
        refuse_winner(cfg, args.config_file)
        with only_run(cfg.OUTPUT_DIR):
            trainer = build_trainer(cfg, args.resume)
            save_config(cfg)
            trainer.train(trainer.start_iter, cfg.SOLVER.MAX_ITER)


if __name__ == "__main__":
    args = argument_parser(__doc__).parse_args()
    launch(main, args)
