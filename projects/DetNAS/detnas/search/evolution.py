"""The searcher: evolution (paper, Sec. 3.2, step 3); with no mutation and no crossover it is random search."""

import random
from dataclasses import dataclass
from typing import Callable

from detnas.space import SearchSpace

from .log import by_score

#: draws per wanted path, after which a source of new paths counts as used up
ATTEMPTS = 1000


def mutate(path, prob, num_ops, rng):
    """Draw each op anew with probability ``prob``."""
    return tuple(rng.randrange(num_ops) if rng.random() < prob else op for op in path)


def cross(a, b, rng):
    """Take each op from either parent by a fair coin."""
    return tuple(rng.choice(pair) for pair in zip(a, b))


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
        rank: sort key of candidates, best first.

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
    rank: Callable = by_score

    def __post_init__(self):
        if self.num_mutate + self.num_cross > self.population:
            raise ValueError(
                f"{self.num_mutate} children by mutation and {self.num_cross} by crossover do not fit into a "
                f"population of {self.population} (SEARCH.NUM_MUTATE, NUM_CROSS, POPULATION)"
            )

    def propose(self, history, generation):
        """
        The paths of a generation: new, legal, different. A function of the seed and of the candidates of earlier
        generations alone, whatever of this one is finished, so that a search can be taken up anywhere.

        Returns:
            at most ``population`` paths; fewer, or none, when no more could be found.
        """
        rng = random.Random(f"search {self.seed} {generation}")
        earlier = [c for c in history if c.generation < generation]
        parents = [c.path for c in sorted((c for c in earlier if c.score is not None), key=self.rank)]
        parents = parents[: self.num_parents]
        seen = {c.path for c in earlier}
        paths = []

        def fill(count, draw):
            """Add up to ``count`` new paths from ``draw``; give up after a bounded number of draws."""
            for _ in range(ATTEMPTS * count):
                if count == 0:
                    return
                path = draw()
                if path not in seen and self.is_legal(path):
                    seen.add(path)
                    paths.append(path)
                    count -= 1

        if parents:
            num_ops = len(self.space.ops)
            fill(self.num_mutate, lambda: mutate(rng.choice(parents), self.mutate_prob, num_ops, rng))
            if len(parents) > 1:
                fill(self.num_cross, lambda: cross(*rng.sample(parents, 2), rng))
        fill(self.population - len(paths), lambda: self.space.random_path(rng))
        return paths
