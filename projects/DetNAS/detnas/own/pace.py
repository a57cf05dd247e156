"""Whether a training is as fast as it was planned, from the lines that it says of its progress."""

import re
import statistics
import time

#: a training may take so much longer than planned, as a share of its time
TOLERANCE = 0.1
#: seconds, and share of its time, after which its pace counts
_AFTER, _SHARE = 20.0, 0.1
#: time that another start must save at least, as a share of that of a start
_SAVES = 2.0


class TooSlow(Exception):
    """A training would end too late; ``iterations`` is how many of them fit into its time."""

    def __init__(self, iterations):
        super().__init__(f"{iterations} iterations fit into the time")
        self.iterations = iterations


class Pace:
    """
    Args:
        seconds: that the training has left from now on, with its start and its evaluations.
        pauses: list of (iteration, seconds) of the evaluations, which come after so many iterations.
        start: seconds that a start takes.
        clock: function that gives seconds.
    """

    def __init__(self, seconds, pauses, start, clock=time.monotonic):
        self.seconds, self.pauses, self.start, self.clock = seconds, pauses, start, clock
        self.began, self.first, self.last, self.paces = clock(), None, None, []

    def check(self, progress):
        """
        Args:
            progress: a line that a training says, such as "iteration 200/3200 ..."; others are left alone.

        Raises:
            TooSlow: if it will end too late, and fewer iterations would help.
        """
        match = re.match(r"iteration (\d+)/(\d+) ", progress)
        if not match:
            return
        done, total, now = int(match[1]), int(match[2]), self.clock()
        if self.first is None:
            self.first = self.last = done, now
            return
        if done > self.last[0]:
            self.paces.append((now - self.last[1]) / (done - self.last[0]))
            self.last = done, now
        if not self.paces or now - self.first[1] < max(_AFTER, _SHARE * self.seconds):
            return
        # The median: between two lines there may be an evaluation.
        each = statistics.median(self.paces)
        left = self.seconds - (now - self.began) - sum(seconds for after, seconds in self.pauses if after >= done)
        over = each * (total - done) - left
        if over <= TOLERANCE * self.seconds or over <= _SAVES * self.start:
            return
        # It is stopped and started again, which takes time, too.
        fits = done + max(1, int((left - self.start) / each))
        if fits < total:
            raise TooSlow(fits)
