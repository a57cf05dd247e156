"""A Gaussian process that predicts scores. Shapes: K known candidates, Q candidates to predict, P places."""

import numpy as np

#: grid of reaches, as shares of the number of places; at this distance the kernel is 1/e
_REACHES = (0.125, 0.25, 0.5, 1, 2)
#: grid of noises: the variance of a score's noise, as a share of the scores' variance
_NOISES = (0.001, 0.01, 0.05, 0.2)


class GaussianProcess:
    """
    Fits ``scores`` (K,) of different ``candidates`` (K, P) of a :class:`detnas.choices.ChoiceSpace`, K at least 1. The
    kernel is ``exp(-distance / reach)``. A place where two candidates differ adds 1 to their distance; an ordered place
    adds the difference of its indices as a share of the range. Reach and noise are the most likely ones of a grid.
    """

    def __init__(self, space, candidates, scores):
        self.space, self.candidates, scores = space, np.asarray(candidates), np.asarray(scores, float)
        self.mean, self.scale = scores.mean(), scores.std() or 1.0
        targets, distances = (scores - self.mean) / self.scale, self._distances(self.candidates)
        fits = [
            self._fit(np.exp(-distances / reach), noise, targets, reach)
            for reach in np.multiply(_REACHES, self.candidates.shape[1])
            for noise in _NOISES
        ]
        _, self.reach, self.root, self.weights = max(fits, key=lambda fit: fit[0])

    @staticmethod
    def _fit(kernel, noise, targets, reach):
        root = np.linalg.cholesky(kernel + noise * np.eye(len(targets)))
        weights = np.linalg.solve(root.T, np.linalg.solve(root, targets))
        likelihood = -targets @ weights / 2 - np.log(np.diag(root)).sum()
        return likelihood, reach, root, weights

    def predict(self, candidates):
        """(Q, P) candidates -> mean and standard deviation of their scores, each (Q,)."""
        likeness = np.exp(-self._distances(np.asarray(candidates)) / self.reach)
        known = (np.linalg.solve(self.root, likeness.T) ** 2).sum(0)
        return self.mean + self.scale * likeness @ self.weights, self.scale * np.sqrt(np.maximum(1 - known, 0))

    def _distances(self, candidates):
        """(Q, P) -> (Q, K)"""
        return sum(  # place by place, which avoids a (Q, K, P) array
            np.abs(x[:, None] - y[None]) / max(len(choice.values) - 1, 1)
            if choice.ordered
            else (x[:, None] != y[None]).astype(float)
            for choice, x, y in zip(self.space.choices, candidates.T, self.candidates.T)
        )
