"""Whether a training or a search is as fast as it was planned, from the lines that it says of its progress."""

import re
import statistics
import time

#: iterations of a training, or candidates of a search
_LINE = re.compile(r"(?:iteration|generation \d+/\d+  candidate) (\d+)/(\d+) ")
#: a step may end so much later, or earlier, than planned, as a share of its time
TOLERANCE = 0.1
#: seconds, and share of its time, after which its pace counts, and share after which it may do more
_AFTER, _SHARE, _SHARE_LONGER = 20.0, 0.1, 0.25
#: time that another start must save at least, as a share of that of a start
_SAVES = 2.0


class OffPace(Exception):
    """A step would end too late, or too early; ``number`` is how many iterations, or candidates, fit into its time."""

    def __init__(self, number):
        super().__init__(f"{number} fit into the time")
        self.number = number


class Pace:
    """
    Args:
        seconds: that the step has left from now on, with its start and its evaluations.
        pauses: list of (iteration, seconds) of the evaluations, which come after so many iterations.
        start: seconds that a start takes.
        multiple: only multiples of it can be done.
        longer: whether it may do more than planned, where that fits.
        clock: function that gives seconds.
    """

    def __init__(self, seconds, pauses, start, multiple=1, longer=False, clock=time.monotonic):
        self.seconds, self.pauses, self.start, self.clock = seconds, pauses, start, clock
        self.multiple, self.longer = multiple, longer
        self.began, self.first, self.last, self.paces = clock(), None, None, []

    def check(self, progress):
        """
        Args:
            progress: a line such as "iteration 200/3200 ..."; others are left alone.

        Raises:
            OffPace: if the step will end too late, and fewer iterations or candidates would help; or too early.
        """
        match = _LINE.match(progress)
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
        if abs(over) <= max(TOLERANCE * self.seconds, _SAVES * self.start):
            return
        if over < 0 and now - self.first[1] < _SHARE_LONGER * self.seconds:
            # More is no hurry, and what is fast now may be so by chance.
            return
        # It is stopped and started again, which takes time, too.
        fits = max(done + int((left - self.start) / each), done + 1)
        fits = max(fits // self.multiple, -(-done // self.multiple)) * self.multiple
        if fits < total if over > 0 else fits > total and self.longer:
            raise OffPace(fits)
