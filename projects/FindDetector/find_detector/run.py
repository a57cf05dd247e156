"""Runs the steps of a plan as command lines, each in the time that is left for it; goes on where it was stopped."""

import dataclasses
import json
import os
import statistics
import time

from detnas.files import read_json, write_text
from detnas.launch.outputs import read_metrics

from .configs import ConfigWriter
from .plan import NAMES, Plan, Task, clock_time, divide, duration
from .steps import Steps, run_step

CLOCK_FILE = "clock.json"
#: seconds after which the file is written again
_EVERY = 2.0


class Clock:
    """
    The seconds in which a run was running, kept in its folder; pauses between two starts do not count.

    Args:
        spent: seconds before, of a run that begins.
    """

    def __init__(self, folder: str, spent: float = 0.0):
        self.file = os.path.join(folder, CLOCK_FILE)
        there = read_json(self.file, {"spent": spent, "steps": {}, "tasks": {}})
        #: step -> seconds; step -> its task, of those that were begun
        self.steps = there["steps"]
        self.tasks = {step: Task(**task) for step, task in there["tasks"].items()}
        self._spent, self._since, self._written, self._step = there["spent"], time.monotonic(), 0.0, None

    @property
    def spent(self) -> float:
        """Seconds of all."""
        return self._spent + time.monotonic() - self._since

    def tick(self, force: bool = False) -> None:
        """Note the time that has passed, for the step that runs."""
        now = time.monotonic()
        if force or now - self._written > _EVERY:
            passed, self._since, self._written = now - self._since, now, now
            self._spent += passed
            if self._step:
                self.steps[self._step] = self.steps.get(self._step, 0.0) + passed
            tasks = {step: dataclasses.asdict(task) for step, task in self.tasks.items()}
            write_text(self.file, json.dumps({"spent": self._spent, "steps": self.steps, "tasks": tasks}, indent=1))

    def switch(self, step: str | None) -> None:
        """From now on it is the time of this step."""
        self.tick(force=True)
        self._step = step
        self.tick(force=True)


class Run:
    """
    Args:
        folder: of the plan.
        root: of the project, with ``train_net.py`` and ``search_net.py``.
        run: what runs a command line, see :class:`find_detector.steps.Steps`.
    """

    def __init__(self, plan: Plan, folder: str, root: str, run=run_step):
        self.plan, self.folder, self.root, self.run_one = plan, folder, root, run
        self.writer = ConfigWriter(plan, folder, root)
        self.steps = Steps(folder, plan.recipe.threads, self._run, root, what="run", otherwise="give another --output")
        self.clock = Clock(folder, plan.spent)

    def _run(self, arguments, log, say, *more):
        def tell(progress):
            self.clock.tick()
            say(progress)

        return self.run_one(arguments, log, tell, *more)

    def command(self, step: str) -> list:
        """The words behind ``python`` of a step."""
        search = step == "search"
        script = os.path.join(self.root, "search_net.py" if search else "train_net.py")
        return [script, "--config-file", self.writer.path(step), *([] if search else ["--resume"])]

    def all(self) -> None:
        """Run what is not done yet."""
        for number, step in enumerate(self.plan.steps, 1):
            if NAMES[step] not in self.steps.done:
                if step not in self.clock.tasks:
                    task = self.forecast()[0]
                    self.writer.write(task)
                    self.clock.tasks[step] = task
                    end = clock_time(self._left() + self.plan.closing)
                    print(f"\n[{clock_time(0)}] step {number} of {len(self.plan.steps)}, {NAMES[step]}: {task}, "
                          f"{duration(task.seconds)}, done at about {clock_time(task.seconds)}; all done at about "
                          f"{end}", flush=True)
                # A step that was interrupted goes on as it was begun.
                self.clock.switch(step)
            self.steps(NAMES[step], *self.command(step))
            self.clock.switch(None)

    def _left(self):
        """Seconds left, without those for report and drawings."""
        return self.plan.budget - self.clock.spent - self.plan.closing

    def forecast(self) -> list:
        """The :class:`find_detector.plan.Task` of each step that is not done, in the time that is left for it."""
        done = [step for step in self.plan.steps if NAMES[step] in self.steps.done]
        left = [step for step in self.plan.steps if step not in done]
        shares = divide(self._left(), left, sum(self.clock.steps.get(step, 0.0) for step in done))
        tasks = [self.plan.task(step, seconds, self._factor()) for step, seconds in shares.items()]
        return [self.clock.tasks.get(task.step, task) for task in tasks]

    def _factor(self):
        """How many times as long as measured an iteration takes, by the training that was done last."""
        for step in ("winner", "supernet"):
            seconds = [line["time"] for line in read_metrics(self.writer.output(step)) if "time" in line]
            if seconds and NAMES[step] in self.steps.done:
                return statistics.median(seconds) / self.plan.measured.supernet_step
        return 1.0
