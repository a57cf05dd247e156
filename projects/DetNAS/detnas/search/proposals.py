"""What every searcher of paths does: only new and legal ones, what is known first, a bounded number of draws."""

import heapq
import random
from dataclasses import dataclass
from typing import Callable, Optional, Tuple

from detnas.choices import ChoiceSpace

from .candidate import by_score

#: draws per wanted path, after which a source of new paths counts as used up
ATTEMPTS = 1000
#: spaces with at most so many paths are gone through one by one before they count as used up
ENUMERABLE = 100_000


def best_first(candidates, count):
    """The best by score, the order in which parents are taken."""
    return heapq.nsmallest(count, candidates, key=by_score)


@dataclass(frozen=True)
class PathProposer:
    """
    Proposes paths; its only state is the history it is given. A subclass says in :meth:`propose` how
    paths are made from candidates; what that does not find is drawn at random.

    Args:
        space: a :class:`detnas.choices.ChoiceSpace`.
        is_legal: path -> bool, whether a path meets the constraints.
        population: paths per generation.
        seed: of all random draws.
        initial: paths that come first of all, where they are legal.
        order: (candidates, count) -> the best of them, best first; see :func:`detnas.search.pareto.pareto_order`.
        repair: (path, rng) -> a path near it that may be legal; where legal paths are too rare to be drawn.
    """

    space: ChoiceSpace
    is_legal: Callable
    population: int = 50
    seed: int = 0
    initial: Tuple[Tuple[int, ...], ...] = ()
    order: Callable = best_first
    repair: Optional[Callable] = None

    def propose(self, found, count, scored, rng):
        """
        Add up to ``count`` paths to ``found``, a :class:`Proposals`.

        Args:
            count: ``population``, or 1 in a search without generations.
            scored: finished candidates that have a score, at least one.
        """
        raise NotImplementedError

    def lineage(self, history, generation):
        """
        The paths of a generation: new, legal, different. A function of the seed and of the candidates of earlier
        generations alone, whatever of this one is finished, so that a search can be taken up anywhere.

        Returns:
            dict: path -> the paths it was made from; at most ``population`` of them, fewer or none when the legal paths
            of the space are used up or could not be found in a bounded number of draws.
        """
        rng = random.Random(f"search {self.seed} {generation}")
        earlier = [c for c in history if c.generation < generation]
        found = Proposals(self.is_legal, {c.network for c in earlier}.__contains__)
        if generation == 0:
            for path in self.initial[: self.population]:
                found.add(path, ())
        # What has no score failed, or was stopped early: it is known, and nothing is made from it.
        scored = [c for c in earlier if c.score is not None]
        if scored:
            self.propose(found, self.population, scored, rng)
        self._fill_at_random(found, self.population, rng)
        return found.paths

    def size(self, generation):
        """How many paths a generation has, where there are as many."""
        return self.population

    def generation_of(self, number):
        """Of the proposal of that number, from 0, in a search without generations."""
        return number // self.population

    def propose_one(self, pool, number, is_known):
        """
        One more path for a search without generations.

        Args:
            pool: finished candidates with a score, out of which come the parents.
            number: of the proposal, from 0.
            is_known: path -> bool, whether it is finished or being evaluated.

        Returns:
            (path, the paths it was made from), or None when there is no new one.
        """
        rng = random.Random(f"search {self.seed} number {number}")
        found = Proposals(self.is_legal, is_known)
        for path in self.initial[: self.population]:
            if found.add(path, ()):
                return path, ()
        if pool and number >= self.population:
            self.propose(found, 1, pool, rng)
        self._fill_at_random(found, 1, rng)
        return next(iter(found.paths.items()), None)

    def _fill_at_random(self, found, total, rng):
        """Until ``total`` are found: by drawing; by repairing what is drawn; by going through a space that is small."""
        space = self.space
        found.draw(total - len(found.paths), lambda: (space.random(rng), ()))
        if len(found.paths) < total and self.repair:
            found.draw(total - len(found.paths), lambda: (self.repair(space.random(rng), rng), ()))
        if len(found.paths) < total and space.size <= ENUMERABLE:
            paths = list(space.all())
            rng.shuffle(paths)
            for path in paths:
                if len(found.paths) == total:
                    break
                found.add(path, ())


class Proposals:
    """New legal paths with what they were made from."""

    def __init__(self, is_legal, is_known):
        self.is_legal, self.is_known, self.paths = is_legal, is_known, {}

    def add(self, path, parents):
        """Whether the path is new and legal, and so was added."""
        if path in self.paths or self.is_known(path) or not self.is_legal(path):
            return False
        self.paths[path] = parents
        return True

    def draw(self, count, source, attempts=ATTEMPTS):
        """Add up to ``count`` paths from ``source``; give up after a bounded number of draws without a new one."""
        misses = 0
        while count > 0 and misses < attempts:
            if self.add(*source()):
                count, misses = count - 1, 0
            else:
                misses += 1
