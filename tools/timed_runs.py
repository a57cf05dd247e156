"""Runs of compare_methods.py that take as many CPU seconds in all: how long the last one of them must be."""

import concurrent.futures
import functools
import json
import multiprocessing
import shutil
import statistics
import time

from seed_runs import SeedRuns, step_seconds

from detnas.errors import UserError
from detnas.files import read_json, write_text
from find_detector.steps import run_step

#: a process reads its own images, so that all seconds are its own
IN_ONE_PROCESS = ("DATALOADER.NUM_WORKERS", 0)
#: a training is evaluated afterwards, for all alike
TRAINING = (*IN_ONE_PROCESS, "DATASETS.TEST", "()")
TRIES = 3
#: training steps until all images of the blood cells are decoded and in memory, and those that are then measured
FIRST, MEASURED = 30, 40


def iterations_for(seconds, start, step):
    """
    How many iterations of ``step`` seconds fit into the seconds of a training that takes ``start`` of them beside.

    Raises:
        UserError: if there is no time for a single one.
    """
    count = round((seconds - start) / step)
    if count < 1:
        raise UserError(f"{seconds:.0f} seconds are left for the last training, which starts in {start:.0f}: give "
                        "more --seconds")
    return count


def training_cost(config, opts):
    """(CPU seconds beside the steps, CPU seconds of a step) of a training; in a process of its own."""
    steps = step_seconds(config, [*opts, *map(str, IN_ONE_PROCESS)], FIRST + MEASURED)
    step = statistics.mean(steps[FIRST:])
    return time.process_time() - len(steps) * step, step


def measure(config, opts):
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(training_cost, config, opts).result()


class TimedRuns(SeedRuns):
    """
    The runs of one seed, with their CPU seconds: user and system time of their processes, from start to end.

    Args:
        folder, seed: see :class:`seed_runs.SeedRuns`.
        total: CPU seconds that a method or a control has in all.
        run, measure: what runs a step, and what measures a training's cost.
    """

    def __init__(self, folder, seed, total, run=functools.partial(run_step, cpu=True), measure=measure):
        super().__init__(folder, seed, run)
        self.total, self.measure = total, measure
        self.file = self.path("iterations.json")
        self.plan = read_json(self.file, {})

    def run(self, name, script, config, *settings):
        if not self.seconds(name):
            # The seconds of a step are all that it took: none goes on where another one was killed.
            shutil.rmtree(self.path(name), ignore_errors=True)
        super().run(name, script, config, *settings)

    def seconds(self, *names):
        """CPU seconds of steps; 0 of those that were not done yet."""
        return sum(self.steps.done.get(f"{name} {self.seed}", {"seconds": 0})["seconds"] for name in names)

    def train_for(self, name, spent, tolerance, config, *settings):
        """
        Train what makes the total with the steps ``spent``; again if that is missed by more than the tolerance, a share
        of it. Only time decides; the AP of no try is looked at.

        Returns:
            name of the step that came nearest.

        Raises:
            UserError: if there is no time left.
        """
        before = self.seconds(*spent)
        plan = self.plan.get(name)
        if plan is None:
            start, step = self.measure(config, list(map(str, settings)))
            plan = {"start": start, "step": step, "iterations": [iterations_for(self.total - before, start, step)]}
            self._keep(name, plan)
        missed = {}
        for number in range(TRIES):
            label, count = f"{name}_{number + 1}", plan["iterations"][number]
            self.run(label, "train_net.py", config, *TRAINING, *settings, "SOLVER.MAX_ITER", count)
            missed[label] = abs(before + self.seconds(label) - self.total)
            if missed[label] <= tolerance * self.total or number + 1 == TRIES:
                break
            if number + 1 == len(plan["iterations"]):
                step = (self.seconds(label) - plan["start"]) / count
                plan["iterations"].append(iterations_for(self.total - before, plan["start"], step))
                self._keep(name, plan)
        return min(missed, key=missed.get)

    def _keep(self, name, plan):
        """The iterations of a step are chosen once."""
        self.plan[name] = plan
        write_text(self.file, json.dumps(self.plan, indent=1))
