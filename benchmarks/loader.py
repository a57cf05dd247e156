#!/usr/bin/env python
"""
Images per second of the data loader alone and of the whole training step, for any config:

    python benchmarks/loader.py --config-file configs/ImageNet/supernet_300M.yaml [--iterations 20] [KEY VALUE ...]

The loader is no bottleneck as long as its figure is the larger one.
"""

import time

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.utils.events import EventStorage

from detnas.command_line import argument_parser
from detnas.data.loader import TrainingData
from detnas.errors import user_errors
from detnas.launch.setup import setup
from detnas.training.trainer import build_trainer

WARM_UP = 3


def rate(step, iterations, images):
    """Images per second of ``step()``, after a warm-up."""
    for _ in range(WARM_UP):
        step()
    start = time.perf_counter()
    for _ in range(iterations):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return iterations * images / (time.perf_counter() - start)


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--iterations", type=int, default=20, help="that are timed")
    args = parser.parse_args()
    with user_errors():
        cfg = setup(args)
    batches, images = TrainingData(cfg).batches(), cfg.SOLVER.IMS_PER_BATCH
    alone = rate(lambda: next(batches), args.iterations, images)
    batches.close()
    trainer = build_trainer(cfg)
    trainer.iter = trainer.start_iter = 0
    trainer.max_iter = cfg.SOLVER.MAX_ITER
    with EventStorage() as trainer.storage:
        trainer.before_train()

        def step():
            trainer.before_step()
            trainer.run_step()
            trainer.after_step()
            trainer.iter += 1

        steps = rate(step, args.iterations, images)
        waiting = sum(v for v, _ in trainer.storage.history("data_time").values()[WARM_UP:])
    share = waiting * steps / images / args.iterations
    print(f"{cfg.DATALOADER.NUM_WORKERS} worker(s), batches of {images}, {torch.get_num_threads()} thread(s)")
    print(f"loader alone  {alone:8.1f} img/s\nwhole step    {steps:8.1f} img/s, {share:.1%} of it waiting for data")


if __name__ == "__main__":
    main()
