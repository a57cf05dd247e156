"""Paths for a search: only new and legal ones, and a bounded number of draws."""

import heapq

from .candidate import by_score

#: draws per wanted path, after which a source of new paths counts as used up
ATTEMPTS = 1000


def best_first(candidates, count):
    """The best by score, the order in which parents are taken."""
    return heapq.nsmallest(count, candidates, key=by_score)


class Proposals:
    """New legal paths with what they were made from."""

    def __init__(self, is_legal, is_known):
        self.is_legal, self.is_known, self.paths = is_legal, is_known, {}

    def add(self, path, parents):
        """Whether the path is new and legal, and so was added."""
        if path in self.paths or self.is_known(path) or not self.is_legal(path):
            return False
        self.paths[path] = parents
        return True

    def draw(self, count, source):
        """Add up to ``count`` paths from ``source``; give up after a bounded number of draws without a new one."""
        misses = 0
        while count > 0 and misses < ATTEMPTS:
            if self.add(*source()):
                count, misses = count - 1, 0
            else:
                misses += 1
