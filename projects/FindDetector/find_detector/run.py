"""Runs the steps of a plan as command lines, each in the time that is left for it; goes on where it was stopped."""

import json
import os
import shutil
import time

from detnas.files import read_json, write_text

from .configs import ConfigWriter
from .detectors import DETECTORS_FILE
from .plan import DETECTORS, FAMILY, FAMILY_SHARE, NAMES, PLAIN, RACE, SEARCH, TRAIN, Plan, clock_time, duration
from .race import STATE_FILE, race_share, read_race
from .steps import Steps, run_step
from .together import BETWEEN, side_by_side

#: what a run has spent, and the seconds of the steps that it has begun
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
        self.steps = Steps(folder, max(1, plan.request.threads), self._run, root, what="run")
        self.clock = os.path.join(folder, CLOCK_FILE)
        there = read_json(self.clock, {"seconds": {}, "begun": {}})
        #: step -> seconds that it took; step -> seconds that it was given, of those that were begun
        self.seconds, self.begun = there["seconds"], there["begun"]

    @property
    def best(self) -> str:
        """The best start; "" while they race."""
        starts = self.plan.starts
        return starts[0].name if len(starts) == 1 else read_race(self.writer.path(RACE)).get("best", "")

    @property
    def spent(self) -> float:
        """Seconds of all until now."""
        return self.plan.spent + sum(self.seconds.values())

    def all(self) -> None:
        """Run what is not done yet; a step that was interrupted goes on as it was begun."""
        for number, step in enumerate(self.plan.steps, 1):
            if NAMES[step] not in self.steps.done and step not in self.begun:
                seconds = self.begun[step] = self.forecast()[step]
                if step == TRAIN:
                    self._go_on()
                end = clock_time(self.plan.budget - self.spent)
                print(f"\n[{clock_time(0)}] step {number} of {len(self.plan.steps)}, {NAMES[step]}: "
                      f"{duration(seconds)}, done at about {clock_time(seconds)}; all done at about {end}", flush=True)
            self._step = step
            self.steps(NAMES[step], *self.command(step))
            if step == TRAIN:
                # With which train_net.py trains for as many.
                self.writer.write(self.best, {kind: read_json(self.writer.path(kind, STATE_FILE))["iterations"]
                                              for kind in (FAMILY, PLAIN)})

    def forecast(self) -> dict:
        """Seconds of each step that is not done, in the time that is left."""
        left = [step for step in self.plan.steps if NAMES[step] not in self.steps.done]
        return self.plan.divide(self.spent, left, *self._image()) | {
            step: seconds for step, seconds in self.begun.items() if step in left}

    def _image(self):
        """Seconds of an image as the race has measured them, in a list; empty without a race."""
        return [self._raced()["image"]] if "image" in self._raced() else []

    def command(self, step: str) -> list:
        """The arguments of ``python`` for a step."""
        writer, seconds = self.writer, self.begun.get(step) or self.forecast()[step]
        if step == RACE:
            files = [writer.start(start.name) for start in self.plan.starts]
            share, own = race_share(len(files))
            words = ["--seconds", f"{seconds:.1f}", "--whole", f"{seconds / share * (1 - share + own):.1f}",
                     "--likely", str(sum(bool(start.licence) for start in self.plan.starts)), "--output",
                     writer.path(RACE)]
            return ["-m", "find_detector.race", *words, *files]
        if step == TRAIN:
            one_by_one = side_by_side(2) == 1
            shares = {FAMILY: FAMILY_SHARE, PLAIN: 1 - FAMILY_SHARE} if one_by_one else {FAMILY: 1.0, PLAIN: 1.0}
            done = sum(self._raced().get("until", [])[-1:])
            commands = [["-m", "find_detector.timed", writer.trained(kind), "--seconds", f"{seconds * share:.1f}",
                         "--output", writer.path(kind), "--done", f"{done if kind == PLAIN else 0.0:.1f}"]
                        for kind, share in shares.items()]
        elif step == SEARCH:
            script = os.path.join(self.root, "search_net.py")
            count = str(self.plan.candidates(seconds, *self._image()))
            commands = [[script, "--config-file", writer.searched(kind), "SEARCH.POPULATION", count]
                        for kind in (FAMILY, PLAIN)]
        elif step == DETECTORS:
            count = str(self.plan.detectors(seconds))
            return ["-m", "find_detector.detectors", "--output", self.folder, "--most", count, "--test",
                    self.plan.sets.test, *(writer.path(kind) for kind in (FAMILY, PLAIN))]
        else:
            return self._drawing()
        return ["-m", "find_detector.together", *commands[0], BETWEEN, *commands[1]]

    def _drawing(self):
        best = read_json(self.writer.path(DETECTORS_FILE))["recommended"]
        inputs = [word for file in self.plan.shown for word in ("--input", file)]
        return [os.path.join(self.root, "demo", "predict.py"), "--config-file",
                self.writer.path(DETECTORS, best, "model.yaml"), *inputs, "--output", self.writer.path("drawn")]

    def _go_on(self):
        """Let the training of the plain detector go on where the race has left it, if there was one."""
        self.writer.write(self.best)
        raced, folder = self.writer.path(RACE, self.best), self.writer.path(PLAIN)
        if os.path.isdir(raced):
            name = f"model_{self._raced()['iterations'] - 1:07d}.pth"
            os.makedirs(folder, exist_ok=True)
            shutil.copyfile(os.path.join(raced, "model_final.pth"), os.path.join(folder, name))
            write_text(os.path.join(folder, "last_checkpoint"), name)

    def _raced(self):
        return read_race(self.writer.path(RACE)).get("entries", {}).get(self.best, {})

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
            write_text(self.clock, json.dumps({"seconds": self.seconds, "begun": self.begun}, indent=1))
