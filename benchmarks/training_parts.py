"""A training of some iterations in a process of its own, of whatever commit it imports; for benchmarks/training.py."""

import json
import sys
import time

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.utils.events import EventStorage

from detnas.command_line import argument_parser
from detnas.launch.setup import setup
from detnas.training import solver
from detnas.training.trainer import build_trainer

#: iterations before those that count: data workers start, memory is found
WARM_UP = 40


def timed(owner, name, seconds, part):
    """Let a function count the seconds that it takes, in ``seconds[part]``."""
    function = getattr(owner, name)

    def counted(*args, **kwargs):
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[part] += time.perf_counter() - start

    setattr(owner, name, counted)


def main(config_file, iterations, *opts):
    seconds = dict.fromkeys(("forward", "backward", "clipping", "update"), 0.0)
    timed(torch.nn.utils, "clip_grad_norm_", seconds, "clipping")  # Detectron2's, one parameter at a time
    if hasattr(solver, "_clip"):
        timed(solver, "_clip", seconds, "clipping")
    cfg = setup(argument_parser().parse_args(["--config-file", config_file, *opts]))
    trainer = build_trainer(cfg)
    timed(trainer.model, "forward", seconds, "forward")
    timed(torch.Tensor, "backward", seconds, "backward")
    timed(trainer.optimizer, "step", seconds, "update")
    trainer.start_iter, trainer.max_iter = 0, cfg.SOLVER.MAX_ITER
    with EventStorage() as trainer.storage:
        trainer.before_train()
        for trainer.iter in range(WARM_UP + int(iterations)):
            if trainer.iter == WARM_UP:
                seconds.update(dict.fromkeys(seconds, 0.0))
                start = time.perf_counter()
            trainer.before_step()
            trainer.run_step()
            trainer.after_step()
        seconds["whole"] = time.perf_counter() - start
        seconds["waiting for data"] = sum(v for v, _ in trainer.storage.history("data_time").values()[WARM_UP:])
        trainer.after_train()
    seconds["update"] -= seconds["clipping"]
    print(json.dumps({part: taken / int(iterations) for part, taken in seconds.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
