"""The searcher: evolution (paper, Sec. 3.2, step 3); with no mutation and no crossover it is random search."""

import heapq
import itertools
import random
from dataclasses import dataclass
from typing import Callable, Optional, Tuple

from detnas.space import SearchSpace

from .candidate import by_score

#: draws per wanted path, after which a source of new paths counts as used up
ATTEMPTS = 1000
#: spaces with at most so many paths are gone through one by one before they count as used up
ENUMERABLE = 100_000


def mutate(path, prob, num_ops, rng):
    """Draw each op anew with probability ``prob``."""
    return tuple(rng.randrange(num_ops) if rng.random() < prob else op for op in path)


def cross(a, b, rng):
    """Take each op from either parent by a fair coin."""
    return tuple(rng.choice(pair) for pair in zip(a, b))


def best_first(candidates, count):
    """The best by score, the order in which parents are taken."""
    return heapq.nsmallest(count, candidates, key=by_score)


@dataclass(frozen=True)
class Searcher:
    """
    Proposes paths; its only state is the history it is given.

    Args:
        space: the search space.
        is_legal: path -> bool, whether a path meets the constraints.
        population: paths per generation.
        num_parents: the best so far, from which children are made.
        num_mutate, num_cross: children by mutation and by crossover; the rest is drawn at random.
        mutate_prob: per block.
        seed: of all random draws.
        initial: paths that come first of all, where they are legal.
        order: (candidates, count) -> the best of them, best first; see :func:`detnas.search.pareto.pareto_order`.
        repair: (path, rng) -> a path near it that may be legal; where legal paths are too rare to be drawn.

    Raises:
        ValueError: if there are more children than places in a generation.
    """

    space: SearchSpace
    is_legal: Callable
    population: int = 50
    num_parents: int = 10
    num_mutate: int = 25
    num_cross: int = 25
    mutate_prob: float = 0.1
    seed: int = 0
    initial: Tuple[Tuple[int, ...], ...] = ()
    order: Callable = best_first
    repair: Optional[Callable] = None

    def __post_init__(self):
        if self.num_mutate + self.num_cross > self.population:
            raise ValueError(
                f"{self.num_mutate} children by mutation and {self.num_cross} by crossover do not fit into a "
                f"population of {self.population} (SEARCH.NUM_MUTATE, NUM_CROSS, POPULATION)"
            )

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
        parents = self._parents(earlier)
        found = _Proposals(self.is_legal, {c.path for c in earlier}.__contains__)
        if generation == 0:
            for path in self.initial[: self.population]:
                found.add(path, ())
        if parents:
            found.draw(self.num_mutate, lambda: self._mutant(parents, rng))
            if len(parents) > 1:
                found.draw(self.num_cross, lambda: self._crossed(parents, rng))
        self._fill_at_random(found, self.population, rng)
        return found.paths

    def size(self, generation):
        """How many paths a generation has, where there are as many."""
        return self.population

    def generation_of(self, number):
        """Of the proposal of that number, from 0, in a search without generations."""
        return number // self.population

    @property
    def pool_size(self):
        """How many of the best by score :meth:`propose_one` must see; None for all."""
        return self.num_parents if self.order is best_first else None

    def propose_one(self, pool, number, is_known):
        """
        One more path for a search without generations.

        Args:
            pool: finished candidates, out of which come the parents.
            number: of the proposal, from 0.
            is_known: path -> bool, whether it is finished or being evaluated.

        Returns:
            (path, the paths it was made from), or None when there is no new one.
        """
        rng = random.Random(f"search {self.seed} number {number}")
        found = _Proposals(self.is_legal, is_known)
        for path in self.initial[: self.population]:
            if found.add(path, ()):
                return path, ()
        parents = self._parents(pool) if number >= self.population else []
        kind = rng.randrange(self.population)
        if parents and kind < self.num_mutate:
            found.draw(1, lambda: self._mutant(parents, rng))
        elif len(parents) > 1 and kind < self.num_mutate + self.num_cross:
            found.draw(1, lambda: self._crossed(parents, rng))
        self._fill_at_random(found, 1, rng)
        return next(iter(found.paths.items()), None)

    def _parents(self, history):
        return [c.path for c in self.order([c for c in history if c.score is not None], self.num_parents)]

    def _mutant(self, parents, rng):
        parent = rng.choice(parents)
        return mutate(parent, self.mutate_prob, len(self.space.ops), rng), (parent,)

    def _crossed(self, parents, rng):
        pair = rng.sample(parents, 2)
        return cross(*pair, rng), tuple(pair)

    def _fill_at_random(self, found, total, rng):
        """Until ``total`` are found: by drawing; by repairing what is drawn; by going through a space that is small."""
        space = self.space
        found.draw(total - len(found.paths), lambda: (space.random_path(rng), ()))
        if len(found.paths) < total and self.repair:
            found.draw(total - len(found.paths), lambda: (self.repair(space.random_path(rng), rng), ()))
        if len(found.paths) < total and len(space.ops) ** space.num_blocks <= ENUMERABLE:
            paths = list(itertools.product(range(len(space.ops)), repeat=space.num_blocks))
            rng.shuffle(paths)
            for path in paths:
                if len(found.paths) == total:
                    break
                found.add(path, ())


class _Proposals:
    """New legal paths with what they were made from."""

    def __init__(self, is_legal, is_known):
        self.is_legal, self.is_known, self.paths = is_legal, is_known, {}

    def add(self, path, parents):
        """Whether the path is new and legal, and so was added."""
        if path in self.paths or self.is_known(path) or not self.is_legal(path):
            return False
        self.paths[path] = parents
        return True

    def draw(self, count, source):
        """Add up to ``count`` paths from ``source``; give up after a bounded number of draws without a new one."""
        misses = 0
        while count > 0 and misses < ATTEMPTS:
            if self.add(*source()):
                count, misses = count - 1, 0
            else:
                misses += 1
