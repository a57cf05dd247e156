"""Evolution that makes too many children and keeps the most promising, by a regression on the scores so far."""

from dataclasses import dataclass

from .evolution import Searcher
from .gaussian_process import GaussianProcess
from .proposals import Proposals


@dataclass(frozen=True)
class SurrogateSearcher(Searcher):
    """
    Makes ``surplus`` generations of children, and random paths, and keeps those that promise the highest scores: mean
    plus standard deviation by a :class:`detnas.search.gaussian_process.GaussianProcess`. So paths far from known ones
    have a chance. The first generation is random. Parents are the best by score.
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
        # Sorted: rounding must not depend on the order in which candidates finished.
        known, paths = sorted(scored, key=lambda c: c.network), sorted(pool.paths)
        promise = self.promise([c.network for c in known], [c.score for c in known], paths)
        for _, path in sorted(zip(-promise, paths))[:count]:
            found.add(path, pool.paths[path])

    def promise(self, known, scores, paths):
        """(paths,): mean plus standard deviation of each path's score, predicted from known scores."""
        return sum(GaussianProcess(self.space, known, scores).predict(paths))
