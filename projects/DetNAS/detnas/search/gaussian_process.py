"""A Gaussian process over paths: what the score of a path is likely to be, by those of the paths that are like it."""

import numpy as np

#: distances at which the likeness of two paths falls to 1/e, as shares of the number of blocks
_REACHES = (0.125, 0.25, 0.5, 1, 2)
#: variance of the noise of a score, as a share of the variance of the scores
_NOISES = (0.001, 0.01, 0.05, 0.2)


class GaussianProcess:
    """
    A process whose kernel is ``exp(-blocks in which two paths differ / reach)``. Reach and noise are those of a grid
    under which the scores are most likely.

    Args:
        paths: of op indices, all different, at least one.
        scores: theirs.
    """

    def __init__(self, paths, scores):
        self.paths, scores = np.asarray(paths), np.asarray(scores, float)
        self.mean, self.scale = scores.mean(), scores.std() or 1.0
        targets, distances = (scores - self.mean) / self.scale, _distances(self.paths, self.paths)
        fits = [
            self._fit(np.exp(-distances / reach), noise, targets, reach)
            for reach in np.multiply(_REACHES, self.paths.shape[1])
            for noise in _NOISES
        ]
        _, self.reach, self.root, self.weights = max(fits, key=lambda fit: fit[0])

    @staticmethod
    def _fit(kernel, noise, targets, reach):
        root = np.linalg.cholesky(kernel + noise * np.eye(len(targets)))
        weights = np.linalg.solve(root.T, np.linalg.solve(root, targets))
        likelihood = -targets @ weights / 2 - np.log(np.diag(root)).sum()
        return likelihood, reach, root, weights

    def predict(self, paths):
        """Mean and standard deviation of the scores of paths, each (paths,)."""
        likeness = np.exp(-_distances(np.asarray(paths), self.paths) / self.reach)
        known = (np.linalg.solve(self.root, likeness.T) ** 2).sum(0)
        return self.mean + self.scale * likeness @ self.weights, self.scale * np.sqrt(np.maximum(1 - known, 0))


def _distances(a, b):
    """(paths of a, paths of b): the number of blocks in which they differ."""
    # Block by block, so that no array has three dimensions.
    return sum((x[:, None] != y[None]).astype(float) for x, y in zip(a.T, b.T))
