"""``search_net.py``: search the best path of a supernet, or evaluate one."""

import functools
import json
import logging
import os
import sys

from detectron2.utils.file_io import PathManager
from torch.utils.tensorboard import SummaryWriter

from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.cost.limits import Limits
from detnas.data.mapper import is_classifier
from detnas.errors import user_errors
from detnas.evaluation.readiness import readiness_warning
from detnas.launch.earlier_steps import BEST_CONFIG, BEST_WEIGHTS, read_arch, trained_weights
from detnas.launch.setup import check_processes, register_datasets, setup
from detnas.report import metrics_table, plot_search
from detnas.search.executor import SearchImpossible
from detnas.search.inherit import write_best
from detnas.search.log import SearchLog
from detnas.search.loop import run_asynchronous, run_search
from detnas.search.session import (build_evaluator, build_executor, build_searcher, check_metric, initial_paths,
                                   search_header)
from detnas.search.tables import pareto_front, write_csv

logger = logging.getLogger(__name__)


def search(args):
    """Search, or evaluate one path with ``--eval-only`` or ``--arch``."""
    with user_errors():
        check_workers(load_config(args.config_file, args.opts), args)
        cfg = setup(args)
        space = config_space(cfg)
        if args.eval_only or args.arch:
            return evaluate_only(cfg, args, space)
        log, executor, run = prepare(cfg, args, space)
    try:
        run()
        plot_search(log, os.path.join(cfg.OUTPUT_DIR, "search.png"))
        write_csv(log, pareto_front(log, cfg.SEARCH.OBJECTIVES), os.path.join(cfg.OUTPUT_DIR, "front.csv"))
        # Workers that hold memory, or a GPU, end before another evaluator is built.
        executor.close()
        if write_best(log, executor.evaluator):
            show_result(cfg, log)
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


def save_best(args, folder, space, candidate):
    """Write best.yaml: the config of the search with the candidate's arch, for whatever reads best.pth."""
    cfg = load_config(args.config_file, args.opts)
    cfg.MODEL.DETNAS.ARCH = space.format(candidate.path)
    # Both files together are all that the detector needs, without its data.
    cfg.MODEL.DETNAS.CLASSES = list(register_datasets(cfg) or ())
    cfg.MODEL.WEIGHTS = BEST_WEIGHTS
    cfg.SEARCH.WINNER = True
    cfg.OUTPUT_DIR = os.path.join(folder, "best")
    with PathManager.open(os.path.join(folder, BEST_CONFIG), "w") as f:
        f.write(
            f"# {cfg.SEARCH.METRIC} {candidate.score:.2f} in the search, with the supernet's weights.\n"
            f"# They are in {BEST_WEIGHTS} when the search has ended; train_net.py --eval-only with this config then\n"
            "# gives that figure again. Step 4 has its own config, with MODEL.DETNAS.ARCH THIS, and MODEL.WEIGHTS\n"
            f"# {BEST_WEIGHTS} to go on from these weights, or the file of a pre-training, or none.\n"
        )
        f.write(cfg.dump())


def show_result(cfg, log):
    """Where the winner is, and what can be done with it."""
    best = log.best()[0]
    config, weights, picture = (os.path.join(cfg.OUTPUT_DIR, f) for f in (BEST_CONFIG, BEST_WEIGHTS, "search.png"))
    print(f"\nBest: {log.space.format(best.path)}, {cfg.SEARCH.METRIC} {best.score:.2f}, with the supernet's weights")
    print(f"Its config is {config}, its weights are {weights}; the search is drawn in {picture}")
    if not is_classifier(cfg):
        print(f"See what it finds:  demo/predict.py --config-file {config} --input IMAGES --output FOLDER")
    print(f"Train it (step 4):  train_net.py --config-file CONFIG MODEL.DETNAS.ARCH {config} MODEL.WEIGHTS {weights}")


def find_weights(cfg, args):
    """The supernet's checkpoint, or None for random weights."""
    if not args.random_weights:
        return trained_weights(cfg, args.opts)
    logger.warning("--random-weights: the supernet is untrained; its scores say nothing about trained networks.")


def evaluate_only(cfg, args, space):
    if args.arch:
        logged, path = None, read_arch(args.arch, space, "--arch")
    else:
        best = SearchLog(cfg.OUTPUT_DIR, space).best()
        if not best:
            raise ValueError(f"{cfg.OUTPUT_DIR}: the log holds no finished candidate yet")
        logged, path = best[0].metrics, best[0].path
    evaluator = build_evaluator(cfg, find_weights(cfg, args), recalibrate=not args.no_recalibration)
    metrics = evaluator(path)
    print(f"path {space.format(path)}, {cfg.DATASETS.TEST[0]}")
    print(metrics_table(metrics, logged))
    with PathManager.open(os.path.join(cfg.OUTPUT_DIR, "evaluation.json"), "w") as f:
        result = {"path": space.format(path), "recalibrated": not args.no_recalibration, "metrics": metrics}
        json.dump(result, f, indent=2)
    return metrics


def prepare(cfg, args, space):
    """Everything that can go wrong goes wrong here, before the first evaluation."""
    check_metric(cfg)
    limits = Limits(cfg, space)
    initial = initial_paths(cfg, limits)
    searcher = build_searcher(cfg, limits, initial)
    weights = find_weights(cfg, args)
    if weights and (warning := readiness_warning(weights)):
        logger.warning(warning)
    log = SearchLog(cfg.OUTPUT_DIR, space, search_header(cfg, limits, weights, initial))
    executor = build_executor(cfg, weights, workers=max(args.num_gpus, args.cpu_processes))
    board = SummaryWriter(cfg.OUTPUT_DIR)

    def on_candidate(candidate, is_best):
        if is_best:
            save_best(args, cfg.OUTPUT_DIR, space, candidate)
        if candidate.score is not None:
            board.add_scalar("search/score", candidate.score, len(log))
            board.add_scalar("search/best", log.best()[0].score, len(log))

    steps, count = run_search, cfg.SEARCH.GENERATIONS
    if cfg.SEARCH.ASYNCHRONOUS:
        steps, count = run_asynchronous, cfg.SEARCH.GENERATIONS * cfg.SEARCH.POPULATION
    return log, executor, functools.partial(steps, searcher, executor, log, count, limits.costs, on_candidate)


def check_workers(cfg, args):
    """
    Raises:
        ValueError: if the machine has not got the workers that are asked for; a Ray cluster says so itself.
    """
    if args.num_machines > 1:
        raise ValueError("--num-machines is for train_net.py; a search reaches several machines by SEARCH.RAY_ADDRESS")
    if not cfg.SEARCH.RAY_ADDRESS:
        check_processes(args)
