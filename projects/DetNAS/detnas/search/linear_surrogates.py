"""Other regressions of the surrogate, on which op each block has: ridge, and a random forest of scikit-learn."""

from dataclasses import dataclass

import numpy as np

from .surrogate import SurrogateSearcher


def indicators(paths, num_ops):
    """(paths, blocks * num_ops): which op each block has, as zeros and ones."""
    return np.eye(num_ops)[np.asarray(paths)].reshape(len(paths), -1)


@dataclass(frozen=True)
class RidgeSearcher(SurrogateSearcher):
    """The prediction of a ridge regression."""

    penalty: float = 1.0

    def promise(self, known, scores, paths):
        ops = len(self.space.ops)
        x, y, new = indicators(known, ops), np.array(scores), indicators(paths, ops)
        middle = x.mean(0)
        x = x - middle
        weights = np.linalg.solve(x.T @ x + self.penalty * np.eye(x.shape[1]), x.T @ (y - y.mean()))
        return (new - middle) @ weights


@dataclass(frozen=True)
class ForestSearcher(SurrogateSearcher):
    """Mean plus standard deviation of the trees of a random forest."""

    trees: int = 50

    def promise(self, known, scores, paths):
        from sklearn.ensemble import RandomForestRegressor

        ops = len(self.space.ops)
        forest = RandomForestRegressor(self.trees, random_state=self.seed).fit(indicators(known, ops), scores)
        new = indicators(paths, ops)
        votes = np.array([tree.predict(new) for tree in forest.estimators_])
        return votes.mean(0) + votes.std(0)
