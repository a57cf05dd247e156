"""
Local search (White et al., "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021): paths that differ
from the best one in the op of one block.
"""

from dataclasses import dataclass

from .proposals import PathProposer


def neighbours(path, num_ops):
    """Yield all paths that differ from a path in one op."""
    for block, present in enumerate(path):
        for op in range(num_ops):
            if op != present:
                yield (*path[:block], op, *path[block + 1 :])


@dataclass(frozen=True)
class LocalSearcher(PathProposer):
    """
    The first generation is random. Later ones are neighbours of the best so far, in random order; where those are
    known, of the next best, and so on. The paper starts again from a random path instead when no neighbour is better.

    Args:
        num_random: paths of a generation that are drawn at random all the same.
    """

    num_random: int = 0

    def propose(self, found, scored, rng):
        self._add_neighbours(found, scored, self.population - self.num_random, rng)

    def propose_next(self, found, scored, rng):
        if scored and rng.randrange(self.population) >= self.num_random:
            self._add_neighbours(found, scored, 1, rng)

    def _add_neighbours(self, found, scored, count, rng):
        # A ranking of all of them is needed only where the best few are used up.
        for some in (min(count, len(scored)), len(scored)):
            for candidate in self.order(scored, some):
                around = list(neighbours(candidate.path, len(self.space.ops)))
                rng.shuffle(around)
                for path in around:
                    if len(found.paths) >= count:
                        return
                    found.add(path, (candidate.path,))
