"""``search_net.py``: search the best candidate of a method, or evaluate one."""

import functools
import os
import sys

from torch.utils.tensorboard import SummaryWriter

from detnas.config.load import load_config
from detnas.errors import user_errors
from detnas.launch.setup import check_processes, setup
from detnas.report import plot_search
from detnas.search.executor import SearchImpossible
from detnas.search.log import VERSIONS, SearchLog
from detnas.search.loop import run_asynchronous, run_search
from detnas.search.method import DEFAULT, get_method
from detnas.search.session import build_executor, versions
from detnas.search.tables import pareto_front, write_csv


def search(args):
    """Search, or evaluate one candidate with ``--eval-only`` or ``--arch``."""
    with user_errors():
        check_workers(load_config(args.config_file, args.opts), args)
        cfg = setup(args)
        kind = get_method(cfg.SEARCH.METHOD)
        if args.eval_only or args.arch:
            return kind.evaluate(cfg, args)
        method = kind(cfg, args)
        log, executor, run = prepare(cfg, args, method)
    try:
        run()
        plot_search(log, os.path.join(cfg.OUTPUT_DIR, "search.png"))
        write_csv(log, pareto_front(log, cfg.SEARCH.OBJECTIVES), os.path.join(cfg.OUTPUT_DIR, "front.csv"))
        # Workers that hold memory, or a GPU, end before another evaluator is built.
        executor.close()
        for line in method.finish(log, executor.evaluator):
            print(line)
    except SearchImpossible:
        with user_errors():
            raise
    except KeyboardInterrupt:
        sys.exit(f"Stopped; {len(log)} candidates are in {log.path}. Start again to continue.")
    except OSError as e:
        # A full disk, most likely; nothing that is in the log is lost.
        sys.exit(f"error: {e}")
    finally:
        executor.close()
        log.close()
    return log


def prepare(cfg, args, method):
    """Log, executor, and the search as a function; everything that can go wrong goes wrong here or before."""
    # Logs from before there was a choice name no method, and go on.
    name = {"method": cfg.SEARCH.METHOD} if cfg.SEARCH.METHOD != DEFAULT else {}
    log = SearchLog(cfg.OUTPUT_DIR, method.space, {**name, **method.header(), VERSIONS: versions()})
    executor = build_executor(cfg, method, workers=max(args.num_gpus, args.cpu_processes))
    board = SummaryWriter(cfg.OUTPUT_DIR)

    def on_candidate(candidate, is_best):
        if is_best:
            method.on_best(candidate)
        if candidate.score is not None:
            board.add_scalar("search/score", candidate.score, len(log))
            board.add_scalar("search/best", log.best()[0].score, len(log))

    steps, count = run_search, cfg.SEARCH.GENERATIONS
    if cfg.SEARCH.ASYNCHRONOUS:
        steps, count = run_asynchronous, cfg.SEARCH.GENERATIONS * cfg.SEARCH.POPULATION
    return log, executor, functools.partial(steps, method.searcher, executor, log, count, method.costs, on_candidate)


def check_workers(cfg, args):
    """
    Raises:
        ValueError: if the machine has not got the workers that are asked for; a Ray cluster says so itself.
    """
    if args.num_machines > 1:
        raise ValueError("--num-machines is for train_net.py; a search reaches several machines by SEARCH.RAY_ADDRESS")
    if not cfg.SEARCH.RAY_ADDRESS:
        check_processes(args)
