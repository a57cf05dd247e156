"""Evaluates on several workers, on this machine or on a Ray cluster, without a broker or fixed ports."""

import collections
import importlib
import logging
import os
import secrets
import socket
import sys
import time

from detnas.errors import UnreadableImage, UserError

from .candidate import Candidate
from .executor import SearchImpossible, result_of

logger = logging.getLogger(__name__)

#: failed starts of workers in a row after which the search gives up
MAX_FAILED_STARTS = 5


class RayExecutor:
    """
    Like :class:`detnas.search.executor.LocalExecutor`, on Ray actors that each build an evaluator once. A dead worker
    is replaced. A candidate that raises, hangs or loses its worker is tried again. UserError if Ray is missing, does
    not answer or has too few CPUs or GPUs.

    Args:
        build: () -> ``evaluate`` as in ``LocalExecutor``; runs in each worker.
        gpus: GPUs per worker.
        address: of a Ray cluster; "" starts one on this machine for this search alone.
        timeout: seconds after which a try counts as failed; 0 for no limit.
        modules: names of modules that a worker imports first.
    """

    def __init__(self, build, metric, workers=2, gpus=0, address="", tries=2, timeout=0, modules=(), text=str):
        self.ray = _start(address, workers, workers * gpus)
        self.metric, self.workers, self.tries, self.timeout, self.text = metric, workers, tries, timeout, text
        self.actor = self.ray.remote(_Worker).options(num_cpus=1, num_gpus=gpus)
        self.evaluator = build  # called by those who need one in this process
        self.build, self.modules = self.ray.put(build), modules
        self.waiting = collections.deque()
        self.failures = collections.defaultdict(list)  # path -> errors so far
        self.running = {}  # reference of a result -> (worker, what was submitted, when it began)
        self.idle, self.starting, self.failed_starts = [], {}, 0

    def submit(self, path, *more):
        self.waiting.append((path, *more))
        self._assign()

    def next(self):
        """The next finished candidate; SearchImpossible as in ``LocalExecutor``, or if workers cannot start."""
        while True:
            self._assign()
            done, _ = self.ray.wait([*self.running, *self.starting], timeout=1)
            for reference in done:
                candidate = self._began(reference) if reference in self.starting else self._finish(reference)
                if candidate is not None:
                    return candidate
            for reference, (_, _, start) in list(self.running.items()):
                if self.timeout and time.monotonic() - start > self.timeout:
                    candidate = self._give_up(reference)
                    if candidate is not None:
                        return candidate

    def close(self):
        """Stop the workers, and the cluster if this search started it."""
        self.ray.shutdown()

    def _assign(self):
        """Start the workers that are missing, and give paths to those that are idle."""
        # None starts before the first path: costs are measured on a quiet machine.
        while len(self.idle) + len(self.starting) + len(self.running) < self.workers:
            # A worker gets a path after the slow build, which must not count towards the timeout.
            worker = self.actor.remote(self.build, self.modules)
            self.starting[worker.ready.remote()] = worker
        while self.idle and self.waiting:
            worker, job = self.idle.pop(0), self.waiting.popleft()
            self.running[worker.evaluate.remote(*job)] = worker, job, time.monotonic()

    def _began(self, reference):
        worker = self.starting.pop(reference)
        try:
            self.ray.get(reference)
        except Exception as e:
            self.failed_starts += 1
            if self.failed_starts >= MAX_FAILED_STARTS:
                raise SearchImpossible(f"{self.failed_starts} workers in a row could not start: {e}") from None
            logger.warning(f"A worker could not start: {_first_line(e)}")
            return
        self.failed_starts = 0
        self.idle.append(worker)

    def _finish(self, reference):
        worker, job, start = self.running.pop(reference)
        try:
            metrics, seconds, name = self.ray.get(reference)
            result = result_of(metrics, self.metric)
        except SearchImpossible:
            raise
        except Exception as e:
            errors = self.ray.exceptions
            if isinstance(e, errors.RayError) and not isinstance(e, errors.RayTaskError):
                # Killed, such as for its memory, or out of reach.
                self.ray.kill(worker)
                return self._failed(job, f"its worker died: {_first_line(e)}", start)
            self.idle.append(worker)
            cause = getattr(e, "cause", None) or e  # Ray wraps the worker's exception
            if isinstance(cause, (UnreadableImage, SearchImpossible)):
                raise SearchImpossible(str(cause)) from None
            return self._failed(job, f"{type(cause).__name__}: {_first_line(cause)}", start)
        self.idle.append(worker)
        if "error" in result:
            return self._failed(job, result["error"], start, metrics=result["metrics"])
        tries = len(self.failures.pop(job[0], ())) + 1
        return Candidate(job[0], seconds=round(seconds, 3), worker=name, tries=tries, **result)

    def _give_up(self, reference):
        worker, job, start = self.running.pop(reference)
        self.ray.kill(worker)
        return self._failed(job, f"TimeoutError: it took more than SEARCH.TIMEOUT, {self.timeout} s", start)

    def _failed(self, job, error, start, **result):
        """Queue a path again; return its candidate after the last try."""
        path = job[0]
        self.failures[path].append(error)
        count = len(self.failures[path])
        logger.warning(f"Candidate {self.text(path)} failed, try {count} of {self.tries}: {error}")
        if count < self.tries:
            self.waiting.append(job)
            return None
        del self.failures[path]
        seconds = round(time.monotonic() - start, 3)
        return Candidate(path, seconds=seconds, tries=count, error=error, **result)


class _Worker:
    """A Ray actor, which keeps its evaluator."""

    def __init__(self, build, modules):
        for module in modules:
            importlib.import_module(module)
        self.evaluator = build()

    def ready(self):
        """Returns once the evaluator is built."""

    def evaluate(self, path, *more):
        start = time.perf_counter()
        metrics = self.evaluator(path, *more)
        return metrics, time.perf_counter() - start, f"{os.uname().nodename}:{os.getpid()}"


def _start(address, cpus, gpus):
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address and "ray" not in sys.modules:
        # Only this user of this machine may connect: Ray listens on the loopback address, as it does on macOS and
        # Windows, and asks for a token, which stays out of the home directory. It reads these variables once.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError("SEARCH.EXECUTOR ray needs Ray: pip install 'ray>=2.9'") from None
    settings = {"num_cpus": cpus, "num_gpus": gpus, "include_dashboard": False}
    if address:
        _check_address(address)
        settings = {"address": address}
    # Workers may not have this package on their path.
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH", "")) if part)
    settings.update(logging_level=logging.ERROR, log_to_driver=False, runtime_env={"env_vars": {"PYTHONPATH": path}})
    try:
        ray.init(**settings)
    except (ConnectionError, ValueError) as e:
        raise UserError(f"SEARCH.RAY_ADDRESS {address or '(none)'}: {_first_line(e)}") from None
    there = ray.cluster_resources()
    if there.get("CPU", 0) < cpus or there.get("GPU", 0) < gpus:
        found = f"{there.get('CPU', 0):.0f} CPUs and {there.get('GPU', 0):.0f} GPUs"
        ray.shutdown()
        raise UserError(f"{cpus} workers need {cpus} CPUs and {gpus} GPUs; the Ray cluster has {found}")
    return ray


def _check_address(address):
    """UserError if no Ray cluster answers; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as e:
            raise UserError(f"SEARCH.RAY_ADDRESS {address}: no Ray cluster answers there: {e}") from None


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
