"""``search_net.py``: searches with a method, or writes or evaluates one candidate."""

import functools
import logging
import os
import platform
import sys

import detectron2
import torch
from torch.utils.tensorboard import SummaryWriter

from detnas.config.load import builders, load_config
from detnas.cost.costs import all_costs
from detnas.data.datasets import fingerprints
from detnas.errors import UserError, user_errors
from detnas.launch.setup import check_processes, setup
from detnas.report.curves import plot_search
from detnas.search.executor import LocalExecutor
from detnas.search.log import VERSIONS, SearchLog
from detnas.search.loop import run_asynchronous, run_search
from detnas.search.method import get_method
from detnas.search.ray_executor import RayExecutor
from detnas.search.tables import pareto_front, write_csv

logger = logging.getLogger(__name__)


def search(args):
    """Search; with ``--pick`` write one candidate, with ``--eval-only`` or ``--arch`` evaluate one."""
    with user_errors():
        if args.num_machines > 1:
            raise UserError(
                "--num-machines is for train_net.py; a search reaches several machines by SEARCH.RAY_ADDRESS"
            )
        if not load_config(args.config_file, args.opts).SEARCH.RAY_ADDRESS:
            check_processes(args)
        cfg = setup(args)
        kind = get_method(cfg.SEARCH.METHOD)
        if args.pick:
            return kind.pick(cfg, args)
        if args.eval_only or args.arch:
            return kind.evaluate(cfg, args)
        method = kind(cfg, args)
        log, executor, run = prepare(cfg, args, method)
    try:
        with user_errors():
            run()
            plot_search(log, os.path.join(cfg.OUTPUT_DIR, "search.png"))
            write_csv(log, pareto_front(log, cfg.SEARCH.OBJECTIVES), os.path.join(cfg.OUTPUT_DIR, "front.csv"))
            executor.close()  # another evaluator needs the workers' memory and GPUs
            for line in method.finish(log, executor.evaluator):
                print(line)
    except KeyboardInterrupt:
        sys.exit(f"Stopped; {len(log)} candidates are in {log.path}. Start again to continue.")
    finally:
        executor.close()
        log.close()
    return log


def prepare(cfg, args, method):
    """The log, the executor and the search as a function. Mistakes in the settings show here or earlier."""
    if cfg.SEARCH.RACING and method.race is None:
        raise UserError(f'SEARCH.RACING: SEARCH.METHOD "{cfg.SEARCH.METHOD}" evaluates every candidate to the end')
    if cfg.SEARCH.FRONT_WINNERS and not method.writes_front:
        raise UserError(f'SEARCH.FRONT_WINNERS: SEARCH.METHOD "{cfg.SEARCH.METHOD}" keeps the best candidate alone')
    libraries = {library.__name__: library.__version__ for library in (torch, detectron2)}
    versions = {"python": platform.python_version(), **libraries}
    data = fingerprints((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST))
    header = {"method": cfg.SEARCH.METHOD, **method.header(), "data": data, VERSIONS: versions}
    log = SearchLog(cfg.OUTPUT_DIR, method.space, header)
    executor = build_executor(cfg, method, workers=max(args.num_gpus, args.cpu_processes))
    board = SummaryWriter(cfg.OUTPUT_DIR)

    def on_candidate(candidate, is_best, needed):
        if is_best:
            method.on_best(candidate)
        method.on_candidate(log, needed)
        if candidate.score is not None:
            board.add_scalar("search/score", candidate.score, len(log))
            board.add_scalar("search/best", log.best()[0].score, len(log))

    searcher, generations = method.searcher, cfg.SEARCH.GENERATIONS
    settings = {"costs": functools.partial(all_costs, method.costs), "on_candidate": on_candidate, "race": method.race,
                "seconds": cfg.SEARCH.SECONDS}
    if cfg.SEARCH.ASYNCHRONOUS:
        total = sum(map(searcher.size, range(generations)))
        return log, executor, functools.partial(run_asynchronous, searcher, executor, log, total, **settings)
    settings["before_generation"] = functools.partial(method.before_generation, log)
    return log, executor, functools.partial(run_search, searcher, executor, log, generations, **settings)


def build_executor(cfg, method, workers):
    """The executor of ``SEARCH.EXECUTOR``; "ray" if the command line asks for several workers."""
    search = cfg.SEARCH
    settings = {"metric": search.METRIC, "tries": search.TRIES, "text": method.space.format}
    if search.EXECUTOR == "here" and workers == 1:
        return LocalExecutor(method.evaluator()(), **settings)
    method.check_evaluator()  # workers would report a mistake late, once per candidate
    workers = workers if workers > 1 else search.WORKERS
    logger.info(f"Starting {workers} Ray workers.")
    gpus = 1 if cfg.MODEL.DEVICE.startswith("cuda") else 0
    settings.update(workers=workers, gpus=gpus, timeout=search.TIMEOUT, address=search.RAY_ADDRESS)
    settings["modules"] = builders(cfg)
    return RayExecutor(method.evaluator(), **settings)
