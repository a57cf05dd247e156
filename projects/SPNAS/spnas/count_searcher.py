"""The searcher of the parallel phase: numbers of copies, cheap ones more often. Pure Python."""

import itertools
import random
from dataclasses import dataclass
from typing import Callable

from .code import MAX_COPIES, ParallelCode
from .searcher import FromOneStart


@dataclass(frozen=True)
class CountSearcher(FromOneStart):
    """
    Proposes how many copies of each stage stand beside it; its only state is the history it is given. Generation 0 is
    the serial network without copies, each later one has ``children`` others, drawn with a probability that falls with
    the cost of what they add (so the group's documentation; by which rule is ours), whatever the scores before them.

    Args:
        start: the :class:`spnas.code.ParallelCode` without copies.
        is_legal: code -> bool, whether it meets the limits.
        added: code -> cost of its copies in relation to that of the serial network. Each time as much again is added, a
            network is drawn half as often.
        children: codes per generation.
        seed: of all random draws.
    """

    start: ParallelCode
    is_legal: Callable
    added: Callable
    children: int = 4
    seed: int = 0

    #: :meth:`propose_one` needs no finished candidates
    pool_size = 0

    def lineage(self, history, generation):
        """
        The codes of a generation: new, legal, different. A function of the seed and of which candidates earlier
        generations had.

        Returns:
            dict: code -> (the serial network,); fewer than ``children``, or none, when there are no more.
        """
        if generation == 0:
            return {self.start: ()}
        known = {c.path for c in history if c.generation < generation}
        drawn = self._draw(random.Random(f"parallel {self.seed} {generation}"), known.__contains__)
        return {code: (self.start,) for code in itertools.islice(drawn, self.children)}

    def propose_one(self, pool, number, is_known):
        """
        One more code for a search without generations.

        Args:
            pool: finished candidates, which make no difference.
            number: of the proposal, from 0.
            is_known: code -> bool, whether it is finished or being evaluated.

        Returns:
            (code, (the serial network,)), or None when there are no more.
        """
        if not is_known(self.start):
            return self.start, ()
        drawn = self._draw(random.Random(f"parallel {self.seed} number {number}"), is_known)
        return next(((code, (self.start,)) for code in drawn), None)

    def _draw(self, rng, is_known):
        """All legal codes that are not known, in random order, cheap ones early."""
        counts = itertools.product(range(MAX_COPIES + 1), repeat=len(self.start.counts))
        codes = [code for code in (ParallelCode(self.start.serial, c) for c in counts) if not is_known(code)]
        # The order of drawing one after the other without putting back (Efraimidis and Spirakis, 2006).
        order = sorted(codes, key=lambda code: rng.expovariate(1.0) * 2 ** self.added(code))
        return filter(self.is_legal, order)
