"""A Gaussian process over candidates: what a score is likely to be, by those of the candidates that are like it."""

import numpy as np

#: distances at which the likeness of two candidates falls to 1/e, as shares of the number of places
_REACHES = (0.125, 0.25, 0.5, 1, 2)
#: variance of the noise of a score, as a share of the variance of the scores
_NOISES = (0.001, 0.01, 0.05, 0.2)


class GaussianProcess:
    """
    A process whose kernel is ``exp(-distance / reach)``: the number of places in which two candidates differ, where an
    ordered place counts by how far apart its values are. Reach and noise are those of a grid under which the scores are
    most likely.

    Args:
        space: a :class:`detnas.choices.ChoiceSpace`.
        candidates: all different, at least one.
        scores: theirs.
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
        """Mean and standard deviation of the scores of candidates, each (candidates,)."""
        likeness = np.exp(-self._distances(np.asarray(candidates)) / self.reach)
        known = (np.linalg.solve(self.root, likeness.T) ** 2).sum(0)
        return self.mean + self.scale * likeness @ self.weights, self.scale * np.sqrt(np.maximum(1 - known, 0))

    def _distances(self, candidates):
        """(candidates, known candidates)"""
        # Place by place, so that no array has three dimensions.
        return sum(
            np.abs(x[:, None] - y[None]) / max(len(choice.values) - 1, 1)
            if choice.ordered
            else (x[:, None] != y[None]).astype(float)
            for choice, x, y in zip(self.space.choices, candidates.T, self.candidates.T)
        )
