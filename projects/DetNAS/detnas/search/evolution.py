"""The searcher: evolution (paper, Sec. 3.2, step 3); with no mutation and no crossover it is random search."""

from dataclasses import dataclass

from .proposals import PathProposer


@dataclass(frozen=True)
class Searcher(PathProposer):
    """
    Children of the best so far; see :class:`detnas.search.proposals.PathProposer` for what every searcher does.

    Args:
        num_parents: the best so far, from which children are made.
        num_mutate, num_cross: children by mutation and by crossover; the rest is drawn at random.
        mutate_prob: per place.
    """

    num_parents: int = 10
    num_mutate: int = 25
    num_cross: int = 25
    mutate_prob: float = 0.1

    def propose(self, found, count, scored, rng):
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
