#!/usr/bin/env python
"""
Results of a short training with given settings. It takes --seconds CPU seconds of one thread, as does its schedule.

    python experiments/fine_tuning.py --seconds 240 --config-file CONFIG SOLVER.BASE_LR 0.04      6 minutes

Prints iterations, and AP on the config's DATASETS.TEST with the weights and with their moving average (EMA).
"""

import argparse
import statistics
import tempfile

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.engine.hooks import CallbackHook
from seed_runs import FIRST, MEASURED, step_seconds
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import pretrained  # noqa: F401  it registers its keys
from detnas.config.load import load_config
from detnas.errors import user_errors
from detnas.evaluation.evaluators import evaluate, only_warnings
from detnas.launch.setup import fit_to_device, register_datasets
from detnas.training.trainer import build_trainer

#: decay of the moving average
DECAY = 0.99


def main(args):
    with user_errors(), only_warnings("detectron2", "fvcore", "detnas"), tempfile.TemporaryDirectory() as folder:
        torch.set_num_threads(1)
        cfg = load_config(args.config_file, args.opts)
        register_datasets(cfg)
        fit_to_device(cfg)
        test, cfg.DATASETS.TEST, cfg.OUTPUT_DIR, cfg.SOLVER.CHECKPOINT_PERIOD = cfg.DATASETS.TEST, (), folder, 10 ** 9
        step = statistics.mean(step_seconds(args.config_file, args.opts, FIRST + MEASURED)[FIRST:])
        cfg.SOLVER.MAX_ITER = int(args.seconds / step)
        cfg.SOLVER.WARMUP_ITERS = min(50, cfg.SOLVER.MAX_ITER // 4)
        torch.manual_seed(cfg.SEED)
        trainer = build_trainer(cfg)
        average = AveragedModel(trainer.model, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True)
        trainer.register_hooks([CallbackHook(after_step=lambda _: average.update_parameters(trainer.model))])
        trainer.train(0, cfg.SOLVER.MAX_ITER)
        cfg.DATASETS.TEST = test
        found = [evaluate(cfg, model.eval())["bbox"] for model in (trainer.model, average.module)]
        print(f"{cfg.SOLVER.MAX_ITER} iterations of {step:.2f} s")
        for name, scores in zip(("weights", "EMA"), found):
            print(f"{name}: AP {scores['AP']:.1f}, AP50 {scores['AP50']:.1f}")


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=240, help="CPU seconds of the training")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
