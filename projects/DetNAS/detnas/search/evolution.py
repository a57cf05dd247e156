"""The searcher: evolution (paper, Sec. 3.2, step 3); with no mutation and no crossover it is random search."""

import random
from dataclasses import dataclass
from typing import Callable, Optional, Tuple

from detnas.choices import ChoiceSpace

from .proposals import Proposals, best_first

#: spaces with at most so many paths are gone through one by one before they count as used up
ENUMERABLE = 100_000


@dataclass(frozen=True)
class Searcher:
    """
    Proposes paths, children of the best so far; its only state is the history it is given.

    Args:
        space: a :class:`detnas.choices.ChoiceSpace`.
        is_legal: path -> bool, whether a path meets the constraints.
        population: paths per generation.
        seed: of all random draws.
        initial: paths that come first of all, where they are legal.
        order: (candidates, count) -> the best of them, best first; see :func:`detnas.search.pareto.pareto_order`.
        repair: (path, rng) -> a path near it that may be legal; where legal paths are too rare to be drawn.
        num_parents: the best so far, from which children are made.
        num_mutate, num_cross: children by mutation and by crossover; the rest is drawn at random.
        mutate_prob: per place.
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
        Add up to ``count`` paths to ``found``, a :class:`Proposals`; what it does not find is drawn at random.

        Args:
            count: ``population``, or 1 in a search without generations.
            scored: finished candidates that have a score, at least one.
        """
        parents = [c.network for c in self.order(scored, self.num_parents)]
        mutants, crossed = self.num_mutate, self.num_cross
        if count < self.population:
            # One by one, each kind comes as often as in a generation.
            kind = rng.randrange(self.population)
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
