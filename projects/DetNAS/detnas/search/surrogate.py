"""Evolution with a surplus of children, of which a regression on the scores so far keeps the most promising."""

from dataclasses import dataclass
from typing import Callable

import numpy as np

from .evolution import Searcher
from .proposals import Proposals


def indicators(paths, num_ops):
    """(paths, blocks * num_ops): which op each block has, as zeros and ones."""
    return np.eye(num_ops)[np.asarray(paths)].reshape(len(paths), -1)


@dataclass(frozen=True)
class SurrogateSearcher(Searcher):
    """
    Proposes ``surplus`` times as many paths as evolution would, in the same shares, and keeps those that the regression
    thinks best.

    Args:
        surplus: proposals for each path that is kept.
        fit: (features, scores) -> function of features that gives predictions.
    """

    surplus: int = 10
    fit: Callable = None

    def propose(self, found, scored, rng):
        self._keep_best(found, scored, self.population, rng)

    @property
    def pool_size(self):
        return None

    def propose_next(self, found, scored, rng):
        if scored:
            self._keep_best(found, scored, 1, rng)

    def _keep_best(self, found, scored, count, rng):
        many = Proposals(self.is_legal, found.is_known)
        for _ in range(self.surplus):
            super().propose(many, scored, rng)
            rest = self.population - self.num_mutate - self.num_cross
            many.draw(rest, lambda: (self.space.random_path(rng), ()))
        paths = sorted(many.paths)
        if not paths:
            return
        ops = len(self.space.ops)
        ordered = sorted(scored, key=lambda c: c.path)
        predict = self.fit(indicators([c.path for c in ordered], ops), np.array([c.score for c in ordered]), rng)
        ranked = sorted(zip(-predict(indicators(paths, ops)), paths))
        for _, path in ranked[:count]:
            found.add(path, many.paths[path])
