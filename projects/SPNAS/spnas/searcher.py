"""
The searcher of the serial phase: first the start network, then random morphs of the best so far. Pure Python.
"""

import random
from dataclasses import dataclass
from typing import Callable, Mapping, Tuple

from detnas.search.candidate import by_score
from detnas.search.pareto import front_of

from .code import SerialCode
from .morphs import mutate

#: draws per wanted child, after which its parents count as used up
ATTEMPTS = 1000


class FromOneStart:
    """The generations of a searcher that begins with one network, and then proposes ``children`` at a time."""

    def size(self, generation):
        """How many codes a generation has, where there are as many."""
        return self.children if generation else 1

    def generation_of(self, number):
        """Of the proposal of that number, from 0, in a search without generations."""
        return -(-number // self.children)


@dataclass(frozen=True)
class MorphSearcher(FromOneStart):
    """
    Proposes codes; its only state is the history it is given. Generation 0 is the start network, each later one has
    ``children`` morphs of parents out of the Pareto front of the score and ``costs``. A parent is drawn by a coin for
    each, the best one first: how parents are chosen is not known of the paper, this is our choice.

    Args:
        start: the start network.
        is_legal: code -> bool, whether a child meets the limits and lies in the space.
        morphs: name of a morph -> how often it is drawn, see :func:`spnas.morphs.mutate`.
        children: codes per generation.
        costs: names of the costs of the front; empty: the parent is the best by score.
        stuck: generations without a better score after which the best is reignited.
        reignitions: how often at most.
        select: False draws each generation from the last candidate before it, whatever its score: a random sequence of
            morphs, the control of a search.
        seed: of all random draws.
    """

    start: SerialCode
    is_legal: Callable
    morphs: Mapping[str, float]
    children: int = 4
    costs: Tuple[str, ...] = ("backbone_flops",)
    stuck: int = 3
    reignitions: int = 0
    select: bool = True
    seed: int = 0

    def lineage(self, history, generation):
        """
        The codes of a generation: new, legal, different. A function of the seed and of the candidates of earlier
        generations alone, whatever of this one is finished, so that a search can be taken up anywhere.

        Returns:
            dict: code -> (its parent,); fewer than ``children``, or none, when no more could be found in a bounded
            number of draws.
        """
        if generation == 0:
            return {self.start: ()}
        earlier = [c for c in history if c.generation < generation]
        reignited = self.reignited(earlier).get(generation)
        known, rng = {c.path for c in earlier}, random.Random(f"serial {self.seed} {generation}")
        found = {}
        for parents in ([reignited] if reignited else [], *self._parents(earlier)):
            while len(found) < self.children:
                proposal = self._child(parents, rng, lambda code: code in known or code in found)
                if proposal is None:
                    break
                found[proposal[0]] = proposal[1]
        return found

    def _child(self, parents, rng, is_known):
        """(code, (its parent,)), or None if no new legal one was found in a bounded number of draws."""
        for _ in range(ATTEMPTS if parents else 0):
            parent = _by_coin(parents, rng)
            child = mutate(parent, self.morphs, rng)
            if child is not None and not is_known(child) and self.is_legal(child):
                return child, (parent,)
        return None

    def reignited(self, history):
        """
        When the best network is reignited: {generation: code}, before the generation's children are proposed, which
        are its own as far as there are as many. A function of the history of earlier generations.
        """
        found, best, since = {}, None, 0
        last = max((c.generation for c in history), default=-1)
        for generation in range(last + 1):
            scored = [c for c in history if c.generation <= generation and c.score is not None]
            now = min(scored, key=by_score, default=None)
            since = 0 if now != best else since + 1
            best = now
            if best is not None and since >= self.stuck and len(found) < self.reignitions:
                found[generation + 1], since = best.path, 0
        return found

    #: :meth:`propose_one` needs all finished candidates for its front
    pool_size = None

    def propose_one(self, pool, number, is_known):
        """
        One more code for a search without generations, in which nothing is reignited.

        Args:
            pool: finished candidates with a score.
            number: of the proposal, from 0.
            is_known: code -> bool, whether it is finished or being evaluated.

        Returns:
            (code, (its parent,)), or None when there is none, also while the start network is being evaluated.
        """
        if not is_known(self.start):
            return self.start, ()
        rng = random.Random(f"serial {self.seed} number {number}")
        proposals = (self._child(parents, rng, is_known) for parents in self._parents(pool))
        return next(filter(None, proposals), None)

    def _parents(self, history):
        """Codes to draw parents from, best first; and, for when all their children are known, those of all others."""
        scored = sorted((c for c in history if c.score is not None), key=by_score)
        if not self.select:
            return [[c.path for c in sorted(scored, key=lambda c: (c.generation, c.path))[-1:]]]
        front = front_of(scored, self.costs) if self.costs else scored[:1]
        return [[c.path for c in front], [c.path for c in scored]]


def _by_coin(parents, rng):
    """The first of the parents with probability 1/2, else the next one with 1/2, and so on; the last takes the rest."""
    for parent in parents[:-1]:
        if rng.random() < 0.5:
            return parent
    return parents[-1]
