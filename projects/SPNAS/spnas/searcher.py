"""Which codes come next, in each phase. Pure Python."""

import itertools
import random
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, Mapping, Tuple, Union

from detnas.search.candidate import Candidate, by_score
from detnas.search.pareto import front_of
from detnas.search.proposals import Proposals

from .code import MAX_COPIES, ParallelCode, SerialCode
from .morphs import mutate

Code = Union[SerialCode, ParallelCode]


@dataclass(frozen=True, kw_only=True)
class CodeSearcher:
    """
    Proposes codes; its only state is the history it is given. Generation 0 is the start network, each later one has
    ``children`` others, which a subclass makes.

    Args:
        start: the start network.
        is_legal: code -> bool, whether it meets the limits and lies in the space.
        children: codes per generation.
        seed: of all random draws.
    """

    start: Code
    is_legal: Callable[[Code], bool]
    children: int = 4
    seed: int = 0

    def propose(self, found, count, history, generation, rng):
        """
        Add up to ``count`` codes to ``found``, a :class:`detnas.search.proposals.Proposals`.

        Args:
            history: finished candidates of earlier generations.
            generation: None in a search without any.
        """
        raise NotImplementedError

    def lineage(self, history: Iterable[Candidate], generation: int) -> Dict[Code, Tuple[Code, ...]]:
        """
        The codes of a generation: new, legal, different. A function of the seed and of the candidates of earlier
        generations alone, whatever of this one is finished, so that a search can be taken up anywhere.

        Returns:
            code -> (its parent,); fewer than ``children``, or none, when no more could be found in a bounded number of
            draws.
        """
        if generation == 0:
            return {self.start: ()}
        earlier = [c for c in history if c.generation < generation]
        found = Proposals(self.is_legal, {c.network for c in earlier}.__contains__)
        self.propose(found, self.children, earlier, generation, self._rng(generation))
        return found.paths

    def propose_one(self, pool: Iterable[Candidate], number: int, is_known: Callable[[Code], bool]):
        """
        One more code for a search without generations, see :meth:`detnas.search.evolution.Searcher.propose_one`:
        (code, (its parent,)), or None when there is none, in a serial search also while the start network runs.
        """
        if not is_known(self.start):
            return self.start, ()
        found = Proposals(self.is_legal, is_known)
        self.propose(found, 1, list(pool), None, self._rng(f"number {number}"))
        return next(iter(found.paths.items()), None)

    def size(self, generation: int) -> int:
        """How many codes a generation has, where there are as many."""
        return self.children if generation else 1

    def generation_of(self, number: int) -> int:
        """Of the proposal of that number, from 0, in a search without generations."""
        return -(-number // self.children)

    def _rng(self, turn):
        return random.Random(f"{self.phase} {self.seed} {turn}")


@dataclass(frozen=True, kw_only=True)
class MorphSearcher(CodeSearcher):
    """
    Proposes morphs of parents out of the Pareto front of the score and ``costs``. A parent is drawn by a coin for each,
    the best one first: how parents are chosen is not known of the paper, this is our choice.

    Args:
        morphs: name of a morph -> how often it is drawn, see :func:`spnas.morphs.mutate`.
        costs: names of the costs of the front; empty: the parent is the best by score.
        stuck: generations without a better score after which the best is reignited.
        reignitions: how often at most.
        select: False draws each generation from the last candidate before it, whatever its score: a random sequence of
            morphs, the control of a search.
    """

    morphs: Mapping[str, float]
    costs: Tuple[str, ...] = ("backbone_flops",)
    stuck: int = 3
    reignitions: int = 0
    select: bool = True

    phase = "serial"

    def propose(self, found, count, history, generation, rng):
        reignited = generation and self.reignited(history).get(generation)
        for parents in filter(None, ([reignited] if reignited else [], *self._parents(history))):

            def morph():
                parent = _by_coin(parents, rng)
                # Where no morph is possible it is the parent, which is known.
                return mutate(parent, self.morphs, rng) or parent, (parent,)

            found.draw(count - len(found.paths), morph)

    def reignited(self, history: Iterable[Candidate]) -> Dict[int, SerialCode]:
        """
        When which code is reignited, as the best one: before the children of that generation are proposed, which are
        its own as far as there are as many. A function of the history of earlier generations.
        """
        found, best, since = {}, None, 0
        last = max((c.generation for c in history), default=-1)
        for generation in range(last + 1):
            scored = [c for c in history if c.generation <= generation and c.score is not None]
            now = min(scored, key=by_score, default=None)
            since = 0 if now != best else since + 1
            best = now
            if best is not None and since >= self.stuck and len(found) < self.reignitions:
                found[generation + 1], since = best.network, 0
        return found

    def _parents(self, history):
        """Codes to draw parents from, best first; and, for when all their children are known, those of all others."""
        scored = sorted((c for c in history if c.score is not None), key=by_score)
        if not self.select:
            return [[c.network for c in sorted(scored, key=lambda c: (c.generation, c.network))[-1:]]]
        front = front_of(scored, self.costs) if self.costs else scored[:1]
        return [[c.network for c in front], [c.network for c in scored]]


@dataclass(frozen=True, kw_only=True)
class CountSearcher(CodeSearcher):
    """
    Proposes how many copies of each stage stand beside it, with a probability that falls with the cost of what they add
    (so the group's documentation; by which rule is ours), whatever the scores before them.

    Args:
        added: code -> cost of its copies in relation to that of the serial network. Each time as much again is added, a
            network is drawn half as often.
    """

    added: Callable[[ParallelCode], float]

    phase = "parallel"

    def propose(self, found, count, history, generation, rng):
        counts = itertools.product(range(MAX_COPIES + 1), repeat=len(self.start.counts))
        codes = [code for code in (ParallelCode(self.start.serial, c) for c in counts) if not found.is_known(code)]
        # The order of drawing one after the other without putting back (Efraimidis and Spirakis, 2006).
        for code in sorted(codes, key=lambda code: rng.expovariate(1.0) * 2 ** self.added(code)):
            if len(found.paths) == count:
                break
            found.add(code, (self.start,))


def _by_coin(parents, rng):
    """The first of the parents with probability 1/2, else the next one with 1/2, and so on; the last takes the rest."""
    for parent in parents[:-1]:
        if rng.random() < 0.5:
            return parent
    return parents[-1]
