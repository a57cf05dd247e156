"""Proposes new, legal paths with a bounded number of draws."""

import heapq

from .candidate import by_score

#: draws without a new path after which a source counts as used up
ATTEMPTS = 1000


def best_first(candidates, count):
    """The ``count`` best candidates by score, best first."""
    return heapq.nsmallest(count, candidates, key=by_score)


class Proposals:
    """New legal paths: ``paths`` is {path: the paths it was made from}."""

    def __init__(self, is_legal, is_known):
        self.is_legal, self.is_known, self.paths = is_legal, is_known, {}

    def add(self, path, parents):
        """Add a path if it is new and legal; return whether it was."""
        if path in self.paths or self.is_known(path) or not self.is_legal(path):
            return False
        self.paths[path] = parents
        return True

    def draw(self, count, source):
        """Add up to ``count`` pairs of ``source()`` -> (path, parents); stop after ``ATTEMPTS`` misses in a row."""
        misses = 0
        while count > 0 and misses < ATTEMPTS:
            if self.add(*source()):
                count, misses = count - 1, 0
            else:
                misses += 1
