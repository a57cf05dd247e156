"""Runs the steps of a plan as command lines, each within the time that is left; a stopped run goes on."""

import json
import math
import os
import shutil
import time

from detnas.errors import UserError
from detnas.files import NUMBER, read_json, write_text

from .configs import SEARCHED, TRAINED, ConfigWriter
from .plan import DETECTORS, FAMILY, FAMILY_SHARE, NAMES, PLAIN, RACE, SEARCH, TRAIN, Plan, clock_time, duration
from .race import STATE, STATE_FILE, race_share, read_race
from .recipe import side_by_side, this_machine
from .steps import Steps
from .together import BETWEEN

#: file with the seconds that the steps took, and were given
CLOCK_FILE = "clock.json"
#: seconds between two writes of this file
_EVERY = 2.0


class Run:
    """Runs a plan; its folder keeps the seconds of each step, without pauses. UserError if race.json does not fit."""

    def __init__(self, plan: Plan, folder: str, steps: Steps):
        self.plan, self.folder, self.steps = plan, folder, steps
        self._run_one, steps.run_one = steps.run_one, self._run
        self.writer = ConfigWriter(plan, folder)
        self.clock = os.path.join(folder, CLOCK_FILE)
        seconds = {"": NUMBER}
        there = read_json(self.clock, {"seconds": {}, "begun": {}}, {"seconds": seconds, "begun": seconds})
        #: step -> seconds that it took; step -> seconds that it was given, if it has begun
        self.seconds, self.begun = there["seconds"], there["begun"]
        if not all(0 <= value < 1e9 for value in (*self.seconds.values(), *self.begun.values())):
            raise UserError(f"{self.clock} is damaged, its seconds cannot be: remove it")
        plan.best = read_race(self.writer.path(RACE)).get("best", "")
        if plan.best not in ("", *(start.name for start in plan.starts)):
            raise UserError(f"{self.writer.path(RACE)} is damaged, the plan has no such start: remove it")

    @property
    def spent(self) -> float:
        """Seconds of the run until now."""
        return self.plan.spent + sum(self.seconds.values())

    def all(self) -> None:
        """Run the steps that are not done; an interrupted one goes on with the time that it was given."""
        for number, step in enumerate(self.plan.steps, 1):
            if NAMES[step] not in self.steps.done and step not in self.begun:
                seconds = self.begun[step] = self.forecast()[step]
                if step == TRAIN:
                    self._go_on()
                end = clock_time(self.plan.budget - self.spent)
                print(f"\n[{clock_time(0)}] step {number} of {len(self.plan.steps)}, {NAMES[step]}: "
                      f"{duration(seconds)}, done at about {clock_time(seconds)}; all done at about {end}", flush=True)
            self._step, self.steps.threads = step, self._threads(step)
            self.steps(NAMES[step], *self.command(step))
            if step == RACE:
                self.plan.best = read_race(self.writer.path(RACE))["best"]
            if step == TRAIN:
                # train_net.py then trains as long with these configs.
                self.writer.write({kind: read_json(self.writer.path(kind, STATE_FILE), form=STATE)["iterations"]
                                   for kind in (FAMILY, PLAIN)})

    def _threads(self, step):
        """Threads of each program: trainings share the cores; the others use one, since latencies are of one thread."""
        side = {RACE: len(self.plan.starts), TRAIN: 2}.get(step)
        return self.plan.request.threads or (max(1, this_machine().cores // side_by_side(side)) if side else 1)

    def forecast(self) -> dict:
        """Step -> seconds for the steps that are not done, within the time that is left."""
        trained = read_json(self.writer.path(PLAIN, STATE_FILE), {}, STATE)
        self.plan.image = trained.get("image") or self._raced().get("image") or self.plan.image
        left = [step for step in self.plan.steps if NAMES[step] not in self.steps.done]
        begun = {step: seconds for step, seconds in self.begun.items() if step in left}
        return self.plan.divide(self.spent, left) | begun

    def command(self, step: str) -> list:
        """The arguments of ``python`` for a step."""
        writer, seconds = self.writer, self.begun.get(step) or self.forecast()[step]
        if step == RACE:
            files = [writer.start(start.name) for start in self.plan.starts]
            workers = side_by_side(len(files))
            share, own = race_share(len(files), workers)
            words = [f"seconds={seconds:.1f}", f"whole={seconds / share * (1 - share + own):.1f}",
                     f"likely={sum(bool(start.licence) for start in self.plan.starts)}", f"folder={writer.path(RACE)}",
                     f"workers={workers}"]
            return ["-m", "find_detector.race", *words, *(f"files={file}" for file in files)]
        if step == DETECTORS:
            return ["-m", "find_detector.detectors", f"output={self.folder}", f"test={self.plan.sets.test}",
                    f"seconds={seconds:.1f}", f"most={self.plan.affordable(DETECTORS, seconds)}",
                    *(f"sources={writer.path(kind)}" for kind in (FAMILY, PLAIN))]
        both, commands = side_by_side(2), []
        for kind in (FAMILY, PLAIN):
            share = 1.0 if both > 1 else FAMILY_SHARE if kind == FAMILY else 1 - FAMILY_SHARE
            if step == TRAIN:
                words = ["-m", "find_detector.timed", f"file={writer.path(TRAINED.format(kind))}",
                         f"seconds={seconds * share:.1f}", f"folder={writer.path(kind)}"]
                if kind == PLAIN:
                    done = sum(self._raced().get("until", [])[-1:])
                    words += [f"done={done:.1f}", f"drawn={self.plan.sets.holdout}"]
            else:
                words = ["-m", "search_net", "--config-file", writer.path(SEARCHED.format(kind)),
                         *self._candidates(kind, seconds, share)]
            commands += [BETWEEN, kind, *words]
        return ["-m", "find_detector.together", str(both), *commands[1:]]

    def _candidates(self, kind, seconds, share):
        """Overrides of a search in a share of seconds: one generation, four for a family with parts of the network."""
        count = min(self.plan.children(kind), self.plan.affordable(SEARCH, seconds))
        generations = 4 if kind == FAMILY and self.plan.start_taken.parts else 1
        first = math.ceil(count / generations)
        new = first // 2 if generations > 1 else 0
        left = self.plan.searching(seconds * share, count)
        numbers = {"SECONDS": round(left), "POPULATION": first, "GENERATIONS": generations,
                   "NUM_PARENTS": max(1, first // 2), "NUM_MUTATE": new, "NUM_CROSS": first // 4 if new else 0}
        return [word for key, number in numbers.items() for word in (f"SEARCH.{key}", str(number))]

    def _go_on(self):
        """Write the configs, and let the plain training resume the winner of the race, if there was one."""
        self.writer.write()
        raced, folder = self.writer.path(RACE, self.plan.best), self.writer.path(PLAIN)
        if os.path.isdir(raced):
            name = f"model_{self._raced()['iterations'] - 1:07d}.pth"
            os.makedirs(folder, exist_ok=True)
            shutil.copyfile(os.path.join(raced, "model_final.pth"), os.path.join(folder, name))
            write_text(os.path.join(folder, "last_checkpoint"), name)

    def _raced(self):
        return read_race(self.writer.path(RACE)).get("entries", {}).get(self.plan.best, {})

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
        """Add the time since the last tick to the step that runs, if it is ``every`` seconds or more."""
        passed = time.monotonic() - self._since
        if passed >= every:
            self._since += passed
            self.seconds[self._step] = self.seconds.get(self._step, 0.0) + passed
            write_text(self.clock, json.dumps({"seconds": self.seconds, "begun": self.begun}, indent=1))
