"""
Racing: a candidate goes on over the held-out images only while it can still become a parent or the best.

It is looked at after growing parts of the images, the rungs, and goes on where it belongs to the better half of the
candidates looked at so far on the same rung: successive halving, without waiting for each other (ASHA, Li et al., MLSys
2020). What a look has seen stands in the log, which so stays the whole state of a search.
"""

from dataclasses import dataclass
from typing import Tuple

from detnas.errors import UserError


@dataclass(frozen=True)
class Race:
    """
    Args:
        share: of the candidates looked at on a rung, the best ones that go on, in (0, 1].
        parents: how many candidates are parents, at least 1. A candidate of a generation waits for those that are so
            many places before it, and is compared with none that come later, so that the result is the same with any
            number of workers.
        rungs: how often a candidate is looked at.
        costs: names of the objectives beside the score; a candidate is compared with those alone that cost no more.
    """

    share: float
    parents: int
    rungs: int
    costs: Tuple[str, ...] = ()

    def to_beat(self, known, costs):
        """
        The score that a candidate with these costs needs on each rung; None where there are too few candidates to
        compare it with.

        Args:
            known: finished candidates.
            costs: name -> number.
        """
        known = [c for c in known if all(c.costs[name] <= costs[name] for name in self.costs)]
        scores = [sorted((c.looks[i]["score"] for c in known if len(c.looks) > i), reverse=True)
                  for i in range(self.rungs)]
        return [seen[max(int(len(seen) * self.share), 1) - 1] if len(seen) >= self.parents else None for seen in scores]


def build_race(cfg):
    """The :class:`Race` of a config; None without ``SEARCH.RACING``."""
    search = cfg.SEARCH
    if not search.RACING:
        return None
    return Race(search.RACING_SHARE, max(search.NUM_PARENTS, 1), len(search.RACING_PARTS), tuple(search.OBJECTIVES))


def rung_sizes(total, parts):
    """Numbers of images after which a candidate is looked at, and all of them."""
    sizes = [0, *(round(part * total) for part in parts), total]
    if any(a >= b for a, b in zip(sizes, sizes[1:])):
        raise UserError(f"SEARCH.RACING_PARTS {tuple(parts)} of {total} held-out images: each part must hold more "
                        "images than the one before, and the last one fewer than all; so few need no race")
    return sizes[1:]
