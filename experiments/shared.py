"""Shared by the experiments: trainings in new processes, the ground truth, rank correlations."""

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
#: each core runs one training; a loader in the same process gives the same batches
IN_ONE_PROCESS = ("DATALOADER.NUM_WORKERS", "0")
#: networks trained alone, by ground_truth.py
GROUND_TRUTH = os.path.join("experiments", "ground_truth.json")


def train(config_file, metric, arch, seed):
    """Score of a network that ``train_net.py`` trains alone, in this process."""
    import train_net  # here, as workers alone need it

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        opts = ["MODEL.DETNAS.ARCH", arch, "SEED", str(seed), "OUTPUT_DIR", folder, *IN_ONE_PROCESS]
        with silent_run():
            train_net.main(argument_parser().parse_args(["--config-file", config_file, *opts]))
        return round([line[metric] for line in read_metrics(folder) if metric in line][-1], 3)


@contextlib.contextmanager
def silent_run():
    """Print nothing, and drop the loggers' files afterwards: the next run in this process has other ones."""
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        for name in ("fvcore", "detectron2", "detnas"):
            logging.getLogger(name).handlers.clear()


def workers(count):
    """A pool of new processes, which share nothing with this one."""
    return concurrent.futures.ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


def run_pool(pool, function, jobs):
    """Run ``jobs``, {key: arguments}; yield (key, result) as they end."""
    running = {pool.submit(function, *arguments): key for key, arguments in jobs.items()}
    try:
        for future in tqdm(concurrent.futures.as_completed(running), total=len(running), unit="training"):
            yield running[future], future.result()
    finally:
        # After Ctrl-C or a failure no other job begins.
        for future in running:
            future.cancel()


def read_networks(table):
    """Networks of a table that were trained with several seeds: "arch", costs, and "scores" by seed."""
    return [n for n in read_json(table)["networks"] if len(n["scores"]) > 1]


def kendall(xs, ys, seed=0, resamples=2_000):
    """(Kendall's tau-b, low, high): 95% percentile bootstrap over pairs; NaN if all ``xs`` or all ``ys`` are equal."""
    xs, ys = np.asarray(xs, float), np.asarray(ys, float)
    tau = float(kendalltau(xs, ys).statistic)
    if np.isnan(tau):
        return tau, tau, tau
    draws = np.random.default_rng(seed).integers(len(xs), size=(resamples, len(xs)))
    taus = [kendalltau(xs[draw], ys[draw]).statistic for draw in draws]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return tau, float(low), float(high)
