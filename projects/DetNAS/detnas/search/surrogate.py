"""Evolution with a surplus of children, of which a regression on the scores so far keeps the most promising."""

from dataclasses import dataclass

from .evolution import Searcher
from .gaussian_process import GaussianProcess
from .proposals import Proposals


@dataclass(frozen=True)
class SurrogateSearcher(Searcher):
    """
    Makes ``surplus`` times as many children as evolution, and random paths besides, and keeps those whose score may be
    the highest by a :class:`detnas.search.gaussian_process.GaussianProcess`: mean plus standard deviation, so that
    what is far from all known paths has a chance, too. The first generation is random. Parents are the best by score.

    Args:
        surplus: generations of children to choose one from.
    """

    surplus: int = 10

    def propose(self, found, count, scored, rng):
        pool = Proposals(self.is_legal, found.is_known)
        for _ in range(self.surplus):
            before = len(pool.paths)
            super().propose(pool, self.population, scored, rng)
            pool.draw(self.population // 4, lambda: (self.space.random(rng), ()))
            if len(pool.paths) == before:
                break
        if not pool.paths:
            return
        # Sums must not depend on the order in which candidates finished.
        known, paths = sorted(scored, key=lambda c: c.network), sorted(pool.paths)
        promise = self.promise([c.network for c in known], [c.score for c in known], paths)
        for _, path in sorted(zip(-promise, paths))[:count]:
            found.add(path, pool.paths[path])

    def promise(self, known, scores, paths):
        """(paths,): how high the score of each path may be, by the scores of known ones."""
        return sum(GaussianProcess(self.space, known, scores).predict(paths))
