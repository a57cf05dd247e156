"""Runs the steps of a plan as command lines, each in the time that is left for it; goes on where it was stopped."""

import json
import os
import shutil
import time
from dataclasses import asdict

from detnas.files import read_json, write_text

from .configs import ConfigWriter
from .plan import NAMES, PLAIN, RACE, SHARES, Plan, Task, clock_time, divide, duration
from .race import STATE_FILE, race_share, read_race
from .steps import Steps, run_step

#: what a run has spent, and the tasks that it has begun
CLOCK_FILE = "clock.json"
#: seconds after which the file is written again
_EVERY = 2.0


class Run:
    """
    Args:
        folder: of the plan. The seconds of each command are kept there; pauses between two starts do not count.
        root: of the project, with ``train_net.py`` and ``search_net.py``.
        run: what runs a command line, see :class:`find_detector.steps.Steps`.
    """

    def __init__(self, plan: Plan, folder: str, root: str, run=run_step):
        self.plan, self.folder, self.root, self._run_one = plan, folder, root, run
        self.writer = ConfigWriter(plan, folder, root)
        self.steps = Steps(folder, plan.recipe.threads, self._run, root, what="run")
        self.clock = os.path.join(folder, CLOCK_FILE)
        there = read_json(self.clock, {"seconds": {}, "tasks": {}})
        #: step -> seconds; step -> its task, of those that were begun
        self.seconds, self.tasks = there["seconds"], {step: Task(**task) for step, task in there["tasks"].items()}

    @property
    def best(self) -> str:
        """The best start; "" while they race."""
        starts = self.plan.starts
        return starts[0].name if len(starts) == 1 else read_race(self.writer.output(RACE)).get("best", "")

    def _go_on(self):
        """Let the training of the plain network go on where the race has left it, if there was one."""
        raced, folder = os.path.join(self.writer.output(RACE), self.best), self.writer.output(PLAIN)
        if os.path.isdir(raced):
            name = f"model_{self._raced()['iterations'] - 1:07d}.pth"
            os.makedirs(folder, exist_ok=True)
            shutil.copyfile(os.path.join(raced, "model_final.pth"), os.path.join(folder, name))
            write_text(os.path.join(folder, "last_checkpoint"), name)

    def _raced(self):
        return read_race(self.writer.output(RACE)).get("entries", {}).get(self.best, {})

    @property
    def spent(self) -> float:
        """Seconds of all until now."""
        return self.plan.spent + sum(self.seconds.values())

    def once(self, step: str, *arguments: str) -> None:
        """Run ``python ARGUMENTS``, unless this step is done."""
        self._step = step
        self.steps(NAMES.get(step, step), *arguments)

    def _run(self, arguments, log, say, *more):
        def tell(progress):
            self._tick(_EVERY)
            say(progress)

        self._since = time.monotonic()
        self._tick()
        try:
            return self._run_one(arguments, log, tell, *more)
        finally:
            self._tick()

    def _tick(self, every=0.0):
        """Give the time since the last tick to the step that runs, if it is long enough."""
        passed = time.monotonic() - self._since
        if passed >= every:
            self._since += passed
            self.seconds[self._step] = self.seconds.get(self._step, 0.0) + passed
            tasks = {step: asdict(task) for step, task in self.tasks.items()}
            write_text(self.clock, json.dumps({"seconds": self.seconds, "tasks": tasks}, indent=1))

    def command(self, step: str) -> list:
        """The arguments of ``python`` for a step."""
        if step == "search":
            return [os.path.join(self.root, "search_net.py"), "--config-file", self.writer.path(step)]
        seconds = (self.tasks.get(step) or {task.step: task for task in self.forecast()}[step]).seconds
        words = ["--seconds", f"{seconds:.1f}", "--output", self.writer.output(step)]
        if step == RACE:
            files = [self.writer.start(start.name) for start in self.plan.starts]
            share, own = race_share(len(files))
            whole = seconds / share * (1 - share + own)
            words += ["--whole", f"{whole:.1f}", "--likely", str(sum(bool(s.licence) for s in self.plan.starts))]
            return ["-m", "find_detector.race", *words, *files]
        done = sum(self._raced().get("until", [])[-1:]) if step == PLAIN else 0.0
        return ["-m", "find_detector.timed", *words, "--done", f"{done:.1f}", self.writer.path(step)]

    def all(self) -> None:
        """Run what is not done yet; a step that was interrupted goes on as it was begun."""
        for number, step in enumerate(self.plan.steps, 1):
            if NAMES[step] not in self.steps.done and step not in self.tasks:
                task = self.tasks[step] = self.forecast()[0]
                if step == PLAIN:
                    self._go_on()
                if step != RACE:
                    self.writer.write(task, self.best)
                end = clock_time(self.plan.budget - self.spent)
                print(f"\n[{clock_time(0)}] step {number} of {len(self.plan.steps)}, {NAMES[step]}: {task}, "
                      f"{duration(task.seconds)}, done at about {clock_time(task.seconds)}; all done at about {end}",
                      flush=True)
            self.once(step, *self.command(step))
            if step not in ("search", RACE):
                # With which train_net.py trains for as many.
                ended = read_json(os.path.join(self.writer.output(step), STATE_FILE), {"iterations": 0})
                self.writer.write(self.tasks[step], self.best, ended["iterations"])

    def forecast(self) -> list:
        """The :class:`find_detector.plan.Task` of each step that is not done, in the time that is left for it."""
        done = [step for step in self.plan.steps if NAMES[step] in self.steps.done]
        left = [step for step in self.plan.steps if step not in done]
        rest = self.plan.budget - self.spent - self.plan.closing
        spent = sum(self.seconds.get(step, 0.0) for step in done if step in SHARES)
        shares = divide(rest, left, spent, len(self.plan.starts))
        tasks = [self.plan.task(step, seconds) for step, seconds in shares.items()]
        return [self.tasks.get(task.step, task) for task in tasks]
