"""The time of a run that may be interrupted: what was spent, and on which step, is kept in its folder."""

import json
import os
import time

from detnas.files import read_json, write_text

CLOCK_FILE = "clock.json"
#: seconds after which the file is written again
_EVERY = 2.0


class Clock:
    """
    Counts the seconds in which a run was running; pauses between two starts do not count.

    Args:
        folder: of the run.
        spent: seconds before, of a run that begins.
    """

    def __init__(self, folder, spent=0.0):
        self.file = os.path.join(folder, CLOCK_FILE)
        there = read_json(self.file, {"spent": spent, "steps": {}, "begun": {}})
        #: step -> seconds; step -> its settings, of those that were begun
        self.steps, self.begun = there["steps"], there["begun"]
        self._spent, self._since, self._written, self.step = there["spent"], time.monotonic(), 0.0, None

    @property
    def spent(self):
        """Seconds of all."""
        return self._spent + time.monotonic() - self._since

    def tick(self, force=False):
        """Note the time that has passed, for the step that runs."""
        now = time.monotonic()
        if force or now - self._written > _EVERY:
            passed, self._since, self._written = now - self._since, now, now
            self._spent += passed
            if self.step:
                self.steps[self.step] = self.steps.get(self.step, 0.0) + passed
            state = {"spent": self._spent, "steps": self.steps, "begun": self.begun}
            write_text(self.file, json.dumps(state, indent=1))

    def begin(self, step):
        """A step begins, or goes on; what passes from now on is its time."""
        self.tick(force=True)
        self.step = step
        self.tick(force=True)

    def end(self):
        """The step has ended."""
        self.tick(force=True)
        self.step = None
