"""
Racing by asynchronous successive halving (ASHA, Li et al., MLSys 2020).

A candidate is scored on growing parts of the held-out images, the rungs. It continues while it is among the best on
its rung so far. The log holds these scores, the "looks", and so remains the whole state of a search.
"""

from dataclasses import dataclass
from typing import Tuple

from detnas.errors import UserError


@dataclass(frozen=True)
class Race:
    """
    Decides which candidates continue.

    Args:
        share: the best share of the candidates on a rung continues, in (0, 1].
        parents: number of parents, at least 1. A rung that fewer candidates have reached stops none.
        costs: names of objectives beside the score; a candidate competes only with candidates that cost no more.
    """

    share: float
    parents: int
    rungs: int
    costs: Tuple[str, ...] = ()

    def to_beat(self, known, costs):
        """
        The score that a candidate with ``costs`` {name: value} needs on each of the rungs, by the finished candidates
        ``known``; None on a rung that too few of them have reached.
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
    """Numbers of images at which candidates are scored, the last is ``total``; UserError unless they grow."""
    sizes = [0, *(round(part * total) for part in parts), total]
    if any(a >= b for a, b in zip(sizes, sizes[1:])):
        raise UserError(f"SEARCH.RACING_PARTS {tuple(parts)} of {total} held-out images: each part must hold more "
                        "images than the one before, and the last one fewer than all; so few need no race")
    return sizes[1:]
