"""What the experiments share: trainings in processes of their own, the ground truth, rank correlations."""

import concurrent.futures
import contextlib
import logging
import multiprocessing
import os
import sys
import tempfile

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import numpy as np
import torch
from scipy.stats import kendalltau
from tqdm import tqdm

from detnas.command_line import argument_parser
from detnas.files import read_json
from detnas.launch.outputs import read_metrics

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
#: a core has a training of its own to do; where the images are read changes no batch
IN_ONE_PROCESS = ("DATALOADER.NUM_WORKERS", "0")
#: networks trained alone, by ground_truth.py
GROUND_TRUTH = os.path.join("experiments", "ground_truth.json")


def train(config_file, metric, arch, seed):
    """Score of a network that is trained alone, in this process, by what ``train_net.py`` does."""
    import train_net  # not when this file is imported: a worker needs it, the first process does not

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        opts = ["MODEL.DETNAS.ARCH", arch, "SEED", str(seed), "OUTPUT_DIR", folder, *IN_ONE_PROCESS]
        with silent_run():
            train_net.main(argument_parser().parse_args(["--config-file", config_file, *opts]))
        return round([line[metric] for line in read_metrics(folder) if metric in line][-1], 3)


@contextlib.contextmanager
def silent_run():
    """Print nothing, and drop the loggers' files afterwards: the next run in this process has its own."""
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        for name in ("fvcore", "detectron2", "detnas"):
            logging.getLogger(name).handlers.clear()


def workers(count):
    """Processes that begin with nothing of this one."""
    return concurrent.futures.ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


def run_pool(pool, function, jobs):
    """Yield (key, result) of {key: arguments} as they end."""
    running = {pool.submit(function, *arguments): key for key, arguments in jobs.items()}
    try:
        for future in tqdm(concurrent.futures.as_completed(running), total=len(running), unit="training"):
            yield running[future], future.result()
    finally:
        # After Ctrl-C, or where one of them failed, no other one begins.
        for future in running:
            future.cancel()


def read_networks(table):
    """The networks of a table that were trained with several seeds: "arch", costs, and "scores" by seed."""
    return [n for n in read_json(table)["networks"] if len(n["scores"]) > 1]


def kendall(xs, ys, seed=0, resamples=2_000):
    """
    Kendall's tau-b of paired figures, and its 95% interval by the percentile bootstrap over the pairs.

    Returns:
        (tau, low, high); NaN where all of ``xs`` or of ``ys`` are equal.
    """
    xs, ys = np.asarray(xs, float), np.asarray(ys, float)
    tau = float(kendalltau(xs, ys).statistic)
    if np.isnan(tau):
        return tau, tau, tau
    draws = np.random.default_rng(seed).integers(len(xs), size=(resamples, len(xs)))
    taus = [kendalltau(xs[draw], ys[draw]).statistic for draw in draws]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return tau, float(low), float(high)
