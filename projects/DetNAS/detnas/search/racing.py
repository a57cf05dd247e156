"""
Racing: a candidate goes on over the held-out images only while it can still become a parent or the best.

It is looked at after growing parts of the images, and has to pass two tests there. Successive halving between
candidates at the same part, without waiting for each other (ASHA, Li et al., MLSys 2020): it must belong to the better
half of those looked at so far. And a paired test over images: it must not be clearly behind the last of the parents.
Average precision is no mean over images, so how sure a difference is comes from the bootstrap (Efron, 1979): both
scores are computed again on the same resampled images, and the spread of their differences counts. What a look has seen
stands in the log, which so stays the whole state of a search.
"""

from dataclasses import dataclass
from typing import Tuple

import numpy as np

from detnas.errors import UserError

from .candidate import by_score

#: bootstrap samples of a part
SAMPLES = 100


@dataclass(frozen=True)
class Race:
    """
    Args:
        parts: shares of the held-out images after which a candidate is looked at, rising, in (0, 1).
        share: of the candidates looked at after a part, the best ones that go on, in (0, 1]; 1: all.
        sigmas: it stops where it is so many standard deviations of the difference behind the last of the parents;
            0: never.
        parents: how many candidates are parents, at least 1.
        costs: names of the objectives beside the score; a candidate is compared with those alone that cost no more.
    """

    parts: Tuple[float, ...]
    share: float
    sigmas: float
    parents: int
    costs: Tuple[str, ...] = ()

    @property
    def lag(self):
        """
        A candidate of a generation waits for those that are so many places before it, and is compared with none that
        come later, so that the result is the same with any number of workers.
        """
        return self.parents

    def to_beat(self, known, costs):
        """
        What a candidate with these costs has to beat: for each part {"least": score that it needs, "rival": look at the
        last of the parents}, each None where too few candidates are there to compare with.

        Args:
            known: finished candidates.
            costs: name -> number.
        """
        known = [c for c in known if all(c.costs[name] <= costs[name] for name in self.costs)]
        scored = sorted((c for c in known if c.score is not None), key=by_score)
        rival = scored[self.parents - 1].looks if len(scored) >= self.parents and self.sigmas else ()
        bars = []
        for part in range(len(self.parts)):
            seen = sorted((c.looks[part]["score"] for c in known if len(c.looks) > part), reverse=True)
            least = seen[max(int(len(seen) * self.share), 1) - 1] if len(seen) >= self.parents else None
            bars.append({"least": least, "rival": rival[part] if rival else None})
        return bars

    def is_hopeless(self, mine, bar, total):
        """
        Whether a candidate stops.

        Args:
            mine: the look at it.
            bar: of :meth:`to_beat`, for the same part.
            total: how many images decide in the end. Those looked at are drawn from them without replacement, so the
                more of them there are, the less can still change (finite population correction; Cochran, Sampling
                Techniques, 1977).
        """
        if bar["least"] is not None and mine["score"] < bar["least"]:
            return True
        rival = bar["rival"]
        if rival is None:
            return False
        spread = np.std(np.subtract(mine["samples"], rival["samples"])) * (1 - mine["images"] / total) ** 0.5
        return bool(mine["score"] + self.sigmas * spread < rival["score"])


def look(images, scores):
    """
    What is kept of a look at a candidate, for JSON.

    Args:
        images: how many it has seen.
        scores: on these images, and then on each bootstrap sample of them.
    """
    # Where no image has an object, all candidates are alike.
    first, *samples = (round(float(score), 3) for score in np.nan_to_num(scores))
    return {"images": images, "score": first, "samples": samples}


def bootstrap_weights(images, seed):
    """
    How often each image counts, (1 + SAMPLES, images): once in the first row, then as it was drawn with replacement.
    The same for all candidates.
    """
    rng = np.random.default_rng([seed, images])
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=SAMPLES)
    return np.concatenate([np.ones((1, images)), drawn])


def part_sizes(total, parts):
    """
    Numbers of images after which a candidate is looked at, and all of them.

    Raises:
        UserError: if the parts do not rise, or are so small that they hold no image more.
    """
    sizes = [0, *(round(part * total) for part in parts), total]
    if any(a >= b for a, b in zip(sizes, sizes[1:])):
        raise UserError(f"SEARCH.RACING_PARTS {tuple(parts)} of {total} held-out images: each part must hold more "
                        "images than the one before, and the last one fewer than all; so few need no race")
    return sizes[1:]
