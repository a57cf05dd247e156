"""The evolutionary searcher (paper, Sec. 3.2, step 3); without mutation and crossover it is random search."""

import random
from dataclasses import dataclass
from typing import Callable, Optional, Tuple

from detnas.choices import ChoiceSpace

from .proposals import Proposals, best_first

#: a space with at most so many paths is enumerated when draws find no new path
ENUMERABLE = 100_000


@dataclass(frozen=True)
class Searcher:
    """
    Proposes children of the best paths so far. Its only state is the history that it is given.

    Args:
        is_legal: path -> bool, whether a path meets the constraints.
        initial: the first paths of the first generation; illegal ones are left out.
        order: (candidates, count) -> the best of them, best first; see :func:`detnas.search.pareto.pareto_order`.
        repair: (path, rng) -> a similar path that may be legal, for spaces where random paths rarely are.
        num_mutate, num_cross: children by mutation and by crossover per generation; the rest is drawn at random.
        mutate_prob: probability of a mutation, per place.
    """

    space: ChoiceSpace
    is_legal: Callable
    population: int = 50
    seed: int = 0
    initial: Tuple[Tuple[int, ...], ...] = ()
    order: Callable = best_first
    repair: Optional[Callable] = None
    num_parents: int = 10
    num_mutate: int = 25
    num_cross: int = 25
    mutate_prob: float = 0.1

    def propose(self, found, count, scored, rng):
        """
        Add children of ``scored``, finished candidates with a score (at least one), to ``found``, a :class:`Proposals`.
        ``count`` is ``population``, or 1 in a search without generations; the caller adds random paths up to it.
        """
        parents = [c.network for c in self.order(scored, self.num_parents)]
        mutants, crossed = self.num_mutate, self.num_cross
        if count < self.population:
            kind = rng.randrange(self.population)  # each kind is as frequent as in a generation
            mutants, crossed = int(kind < mutants), int(mutants <= kind < mutants + crossed)
        found.draw(mutants, lambda: self._mutant(parents, rng))
        if len(parents) > 1:
            found.draw(crossed, lambda: self._crossed(parents, rng))

    def _mutant(self, parents, rng):
        parent = rng.choice(parents)
        return self.space.mutate(parent, self.mutate_prob, rng), (parent,)

    def _crossed(self, parents, rng):
        pair = rng.sample(parents, 2)
        return self.space.cross(*pair, rng), tuple(pair)

    def lineage(self, history, generation):
        """
        The paths of a generation, new, legal and different: {path: the paths it was made from}. They depend on seed and
        earlier generations alone, so a search can continue anywhere. There are at most ``population`` paths; fewer or
        none if the legal ones are used up or a bounded number of draws finds no more.
        """
        rng = random.Random(f"search {self.seed} {generation}")
        earlier = [c for c in history if c.generation < generation]
        found = Proposals(self.is_legal, {c.network for c in earlier}.__contains__)
        if generation == 0:
            for path in self.initial[: self.population]:
                found.add(path, ())
        scored = [c for c in earlier if c.score is not None]  # failed and stopped ones are never parents
        if scored:
            self.propose(found, self.population, scored, rng)
        self._fill_at_random(found, self.population, rng)
        return found.paths

    def size(self, generation):
        """The largest number of paths in a generation."""
        return self.population

    def generation_of(self, number):
        """The generation of a proposal in a search without generations; both count from 0."""
        return number // self.population

    def propose_one(self, pool, number, is_known):
        """
        The next path in a search without generations: (path, the paths it was made from); None if there is no new one.
        ``pool`` holds the finished candidates with a score, and ``number`` counts proposals from 0. ``is_known(path)``
        says whether a path is finished or being evaluated.
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
        """Fill up to ``total``: with random paths, then repaired ones, then all paths of a small space."""
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
