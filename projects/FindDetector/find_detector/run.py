"""Runs the steps of a plan as command lines, each in the time that is left for it; goes on where it was stopped."""

import dataclasses
import os
import statistics

from detnas.launch.earlier_steps import read_metrics

from . import schedule
from .clock import Clock
from .pace import OffPace, Pace
from .plan import forecast
from .steps import Steps, run_step
from .words import NAMES, clock_time, duration, step_words

#: seconds of a training from which on its step is measured once more just before
_MEASURED_FROM = 600
#: for so many seconds
_MEASURED_SECONDS = 8


class Run:
    """
    Args:
        plan: a :class:`find_detector.plan.Plan`.
        folder: of the plan.
        root: of the project, with ``train_net.py`` and ``search_net.py``.
        measure: see :func:`find_detector.plan.make_plan`.
        run: what runs a command line, see :class:`find_detector.steps.Steps`.

    Raises:
        UserError: if another run uses the folder.
    """

    def __init__(self, plan, folder, root, measure, run=run_step):
        self.plan, self.folder, self.root, self.measure = plan, folder, root, measure
        self.writer = plan.writer(folder, root)
        self.run_one, threads = run, plan.recipe["threads"]
        self.steps = Steps(folder, threads, self._run, root, what="run", otherwise="give another --output")
        self.clock = Clock(folder, plan.spent)

    def _run(self, arguments, log, say, *more):
        # Pictures and reports have no pace.
        step, pace = self.clock.step, None
        if step:
            settings = self.clock.begun[step]
            left = settings["seconds"] - self.clock.steps.get(step, 0.0)
            start, multiple = self.plan.times.start, settings.get("generation", 1)
            # Earlier ones leave their time to those that come after them.
            pace = Pace(left, self.plan.pauses(step, settings), start, multiple, longer=step in ("winner", "plain"))

        def tell(progress):
            self.clock.tick()
            say(progress)
            if pace:
                pace.check(progress)

        seconds = self.run_one(arguments, log, tell, *more)
        if not step:
            return seconds
        # Those before it was interrupted, or had another number of iterations, too.
        self.clock.tick(force=True)
        return self.clock.steps[step]

    def command(self, step):
        """The words behind ``python`` of a step."""
        script = os.path.join(self.root, "search_net.py" if step == "search" else "train_net.py")
        resume = [] if step == "search" else ["--resume"]
        return [script, "--config-file", self.writer.path(step), *resume]

    def all(self):
        """Run what is not done yet."""
        for step in self.plan.steps:
            name = NAMES[step]
            if name not in self.steps.done:
                if step not in self.clock.begun:
                    self._begin(step)
                # One that was interrupted goes on as it was begun.
                self.clock.begin(step)
            self._until_done(step)
            self.clock.end()

    def _until_done(self, step):
        """Run a step; one that would not end in time is stopped, gets as many iterations as fit, and goes on."""
        while True:
            try:
                return self.steps(NAMES[step], *self.command(step))
            except OffPace as e:
                settings = self.clock.begun[step]
                what = "candidates" if step == "search" else "iterations"
                pace = "slower" if e.number < settings[what] else "faster"
                print(f"\n[{clock_time(0)}] {NAMES[step]}: {pace} than measured, so it ends after {e.number} {what} in "
                      f"place of {settings[what]}", flush=True)
                settings[what] = e.number
                self._write(step, settings)
                self.clock.tick(force=True)

    def _write(self, step, settings):
        getattr(self.writer, step)(**{name: value for name, value in settings.items() if name != "seconds"})

    def left(self):
        """Seconds left, without those for what comes at the end."""
        return self.plan.budget - self.clock.spent - self.plan.closing

    def forecast(self):
        """[(step, its settings, seconds)] of the steps that are not done, see :func:`find_detector.plan.forecast`."""
        left = [step for step in self.plan.steps if NAMES[step] not in self.steps.done]
        spent = sum(self.clock.steps.get(step, 0.0) for step in self.plan.steps if step not in left)
        found = forecast(self.plan, self.left(), left, spent)
        # One that was interrupted goes on as it was begun.
        return [(step, self.clock.begun.get(step, settings), seconds) for step, settings, seconds in found]

    def _seconds(self, step):
        """Those that a step has which is the next one."""
        names = self.plan.steps
        spent = sum(self.clock.steps.get(done, 0.0) for done in names[:names.index(step)])
        return schedule.divide(self.left(), names[names.index(step):], spent)[step]

    def _begin(self, step):
        """Divide the rest of the time anew, and write the config of a step for its part of it."""
        names = self.plan.steps
        times = self._times(step, self._seconds(step))
        # Measuring has taken some of it.
        settings, expected = self.plan.settings(step, self._seconds(step), times)
        self._write(step, settings)
        end = clock_time(self.left() + self.plan.closing)
        print(f"\n[{clock_time(0)}] step {names.index(step) + 1} of {len(names)}, {NAMES[step]}: "
              f"{step_words(settings)}, {duration(expected)}, done at about {clock_time(expected)}; all done at about "
              f"{end}", flush=True)
        self.clock.begun[step] = {**settings, "seconds": expected}

    def _times(self, step, seconds):
        """What was measured, corrected by what the supernet took, and by another measurement where there is time."""
        times = self.plan.times
        took = self._supernet_seconds()
        factor = took / times.supernet_step if took else 1.0
        slower = {name: value * factor for name, value in dataclasses.asdict(times).items() if name != "start"}
        times = dataclasses.replace(times, **slower)
        if step == "supernet" or step == "search" or seconds < _MEASURED_FROM:
            return times
        self._write(step, self.plan.settings(step, seconds, times)[0])
        found = self.measure(self.writer.path(step), _MEASURED_SECONDS, self.plan.recipe["threads"])
        self.clock.tick(force=True)
        return dataclasses.replace(times, **{"supernet_step" if step == "winner" else "plain_step": found["step"]})

    def _supernet_seconds(self):
        """Seconds of an iteration of the supernet's training, once it has run; None before, and if it says none."""
        lines = read_metrics(self.writer.output("supernet")) if self.plan.search else []
        seconds = [line["time"] for line in lines if "time" in line]
        return statistics.median(seconds) if seconds else None
