"""Proposes the next codes of both phases. Pure Python."""

import itertools
import random
from dataclasses import dataclass, field, replace
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
    Proposes ``children`` codes per generation, from the history alone. Generation 0 is the start network; a subclass
    draws the others. ``is_legal`` tells whether a code meets the limits and lies in the space.
    """

    start: Code
    is_legal: Callable[[Code], bool]
    children: int = 4
    seed: int = 0

    def propose(self, found, count, history, generation, rng):
        """
        Add up to ``count`` codes to ``found``, a :class:`detnas.search.proposals.Proposals`. ``history`` has finished
        candidates of earlier generations; ``generation`` is None in a search without generations.
        """
        raise NotImplementedError

    def lineage(self, history: Iterable[Candidate], generation: int) -> Dict[Code, Tuple[Code, ...]]:
        """
        New, legal, different codes of a generation: code -> (its parent,). Draws are bounded, so there may be fewer
        than ``children``. They depend on the seed and earlier generations alone, so a search resumes anywhere.
        """
        if generation == 0:
            return {self.start: ()}
        earlier = [c for c in history if c.generation < generation]
        found = Proposals(self.is_legal, {c.network for c in earlier}.__contains__)
        self.propose(found, self.children, earlier, generation, self._rng(generation))
        return found.paths

    def propose_one(self, pool: Iterable[Candidate], number: int, is_known: Callable[[Code], bool]):
        """
        One more code for a search without generations, see :meth:`detnas.search.evolution.Searcher.propose_one`: (code,
        (its parent,)). None if there is none; a serial search has none while the start network runs.
        """
        if not is_known(self.start):
            return self.start, ()
        found = Proposals(self.is_legal, is_known)
        self.propose(found, 1, list(pool), None, self._rng(f"number {number}"))
        return next(iter(found.paths.items()), None)

    def size(self, generation: int) -> int:
        """Most codes of a generation."""
        return self.children if generation else 1

    def generation_of(self, number: int) -> int:
        """Generation of proposal ``number``, from 0, in a search without generations."""
        return -(-number // self.children)

    def _rng(self, turn):
        return random.Random(f"{self.phase} {self.seed} {turn}")


@dataclass(frozen=True, kw_only=True)
class MorphSearcher(CodeSearcher):
    """
    Proposes morphs of parents, chosen by ``select``; coin flips prefer the best of them. The paper does not say how
    parents are chosen; this is our choice.

    Args:
        morphs: name -> relative frequency, see :func:`spnas.morphs.mutate`.
        costs: names of the front's costs; empty: the parent is the best by score.
        stuck: generations without a better score after which the best code is reignited.
        reignitions: at most so many.
        select: "front": parents are the Pareto front of score and ``costs``; "line": the best of the last generation,
            so that all training is in one line of descent; "random": any of the last generation, a control.
        trials: so many morphs are tried for each child, see :meth:`morphs_to_try`.
        tried: generation -> {morph: score before any training, or None}; the best morphs are the children.
    """

    morphs: Mapping[str, float]
    costs: Tuple[str, ...] = ("backbone_flops",)
    stuck: int = 3
    reignitions: int = 0
    select: str = "front"
    trials: int = 1
    tried: Dict[int, Dict[SerialCode, float]] = field(default_factory=dict)

    phase = "serial"

    def lineage(self, history, generation):
        morphs = self.morphs_to_try(history, generation)
        scores = self.tried.get(generation, {})
        best = sorted(morphs, key=lambda code: (scores.get(code) is None, -(scores.get(code) or 0)))
        return {code: morphs[code] for code in best[: self.size(generation)]}

    def morphs_to_try(self, history, generation):
        """The ``trials`` morphs for each child of a generation, as :meth:`lineage` returns them."""
        return super(MorphSearcher, replace(self, children=self.children * self.trials)).lineage(history, generation)

    def propose(self, found, count, history, generation, rng):
        reignited = generation and self.reignited(history).get(generation)
        for parents in filter(None, ([reignited] if reignited else [], *self._parents(history))):

            def morph():
                parent = _by_coin(parents, rng)
                # Without a possible morph: the parent, which is known and so not added.
                return mutate(parent, self.morphs, rng) or parent, (parent,)

            found.draw(count - len(found.paths), morph)

    def reignited(self, history: Iterable[Candidate]) -> Dict[int, SerialCode]:
        """
        Generation -> the best code so far, which is reignited before the generation's children are proposed. They
        descend from this code, as far as it has enough new children. A function of the history of earlier generations.
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

    def last(self, scored):
        """A list of the one parent in the last generation of scored candidates; empty without candidates."""
        generation = max((c.generation for c in scored), default=0)
        by = by_score if self.select == "line" else lambda c: self._rng(c.network).random()
        return sorted((c for c in scored if c.generation == generation), key=by)[:1]

    def _parents(self, history):
        """Lists of possible parents, best first: the front; then all, in case the front has no new children."""
        scored = sorted((c for c in history if c.score is not None), key=by_score)
        if self.select != "front":
            return [[c.network for c in self.last(scored)]]
        front = front_of(scored, self.costs) if self.costs else scored[:1]
        return [[c.network for c in front], [c.network for c in scored]]


@dataclass(frozen=True, kw_only=True)
class CountSearcher(CodeSearcher):
    """
    Proposes numbers of copies of each stage, whatever the scores. Costly copies are less likely, as the group's
    documentation says. The rule is ours: ``added``, code -> cost of its copies / of the serial network, halves the
    probability whenever it grows by 1.
    """

    added: Callable[[ParallelCode], float]

    phase = "parallel"

    def propose(self, found, count, history, generation, rng):
        counts = itertools.product(range(MAX_COPIES + 1), repeat=len(self.start.counts))
        codes = [code for code in (ParallelCode(self.start.serial, c) for c in counts) if not found.is_known(code)]
        # Weighted draws without replacement (Efraimidis and Spirakis, 2006).
        for code in sorted(codes, key=lambda code: rng.expovariate(1.0) * 2 ** self.added(code)):
            if len(found.paths) == count:
                break
            found.add(code, (self.start,))


def _by_coin(parents, rng):
    """The first parent with probability 1/2, else the next with 1/2, and so on; the last one takes the rest."""
    for parent in parents[:-1]:
        if rng.random() < 0.5:
            return parent
    return parents[-1]
