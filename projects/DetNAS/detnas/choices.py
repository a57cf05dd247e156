"""Spaces of candidates. A *candidate* is a tuple of ints, for each place the index of its value. Pure Python."""

import itertools
import math
import operator
from random import Random
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Protocol, Tuple

from .errors import UserError

Candidate = Tuple[int, ...]


class Choice(NamedTuple):
    """
    One place of a candidate, with at least one value. Models and settings know it by ``name``, such as "stage2.3". The
    neighbouring values of an ordered place are alike: sizes are ordered, kinds of layers are not.
    """

    name: str
    values: Tuple[Any, ...]
    ordered: bool = False


class Space(Protocol):
    """What a search needs of a space. Its candidates can be hashed, sorted and pickled."""

    name: str

    def parse(self, text: str):
        """Read a candidate. Raises UserError if the text describes none."""

    def format(self, candidate) -> str:
        """Write a candidate as text for :meth:`parse`."""

    def neighbours(self, candidate, rng: Random) -> Iterator:
        """Yield the candidates one step away, in random order."""

    def anchors(self) -> Dict[str, Any]:
        """Candidates with a name, such as baselines: name -> candidate."""

    def settings(self, candidate) -> Dict[str, Any]:
        """Config of a candidate: key -> value."""

    def drawing(self, candidate) -> List:
        """Lists for a report: stages of parallel lines of blocks: (text, fill, text colour, legend text or "")."""


class ChoiceSpace:
    """A :class:`Space` of all combinations of values. ``name`` is for logs; the names of ``choices`` differ."""

    def __init__(self, name: str, choices: Tuple[Choice, ...]):
        self.name, self.choices = name, tuple(choices)

    @property
    def size(self) -> int:
        return math.prod(len(choice.values) for choice in self.choices)

    def check(self, candidate: Iterable[int]) -> Candidate:
        """Return a candidate as a tuple of ints. Raises UserError if its length or an index does not fit the space."""
        candidate = tuple(operator.index(index) for index in candidate)
        if len(candidate) != len(self.choices):
            raise UserError(f'{len(candidate)} places; space "{self.name}" has {len(self.choices)}')
        for index, choice in zip(candidate, self.choices):
            if not 0 <= index < len(choice.values):
                values = ", ".join(f"{i} {value}" for i, value in enumerate(choice.values))
                raise UserError(f'{index} at {choice.name} of space "{self.name}", which can be {values}')
        return candidate

    def parse(self, text: str) -> Candidate:
        try:
            return self.check(map(int, text.split("-")))
        except ValueError as e:
            reason = e if isinstance(e, UserError) else "numbers with - between them are expected"
            raise UserError(f'"{text}": {reason}') from None

    def format(self, candidate: Candidate) -> str:
        return "-".join(map(str, self.check(candidate)))

    def values(self, candidate: Candidate) -> Dict[str, Any]:
        """Value of each place: name -> value."""
        return {choice.name: choice.values[index] for index, choice in zip(self.check(candidate), self.choices)}

    def random(self, rng: Random) -> Candidate:
        """Draw a candidate uniformly."""
        return tuple(rng.randrange(len(choice.values)) for choice in self.choices)

    def all(self) -> Iterator[Candidate]:
        return itertools.product(*(range(len(choice.values)) for choice in self.choices))

    def mutate(self, candidate: Candidate, prob: float, rng: Random) -> Candidate:
        """Draw each place anew with probability ``prob``."""
        return tuple(
            rng.randrange(len(choice.values)) if rng.random() < prob else index
            for index, choice in zip(candidate, self.choices)
        )

    def cross(self, a: Candidate, b: Candidate, rng: Random) -> Candidate:
        """Take each place from either candidate with equal probability."""
        return tuple(rng.choice(pair) for pair in zip(a, b))

    def neighbours(self, candidate: Candidate, rng: Random) -> Iterator[Candidate]:
        """Yield candidates that differ in one place, in random order. An ordered place moves by one value."""
        steps = [
            (place, index)
            for place, choice in enumerate(self.choices)
            for index in range(len(choice.values))
            if index != candidate[place] and not (choice.ordered and abs(index - candidate[place]) > 1)
        ]
        for place, index in rng.sample(steps, len(steps)):
            yield (*candidate[:place], index, *candidate[place + 1 :])

    def anchors(self) -> Dict[str, Candidate]:
        return {}

    def settings(self, candidate: Candidate) -> Dict[str, Any]:
        return {}

    def drawing(self, candidate: Candidate) -> List:
        """One line with a block for each place: its value, or the index of a long one. Later values are darker."""
        blocks = []
        for index, choice in zip(candidate, self.choices):
            shade = round(0.95 - 0.7 * index / max(len(choice.values) - 1, 1), 2)
            text = str(choice.values[index])
            blocks.append((text if len(text) < 4 else str(index), str(shade), "black" if shade > 0.5 else "white", ""))
        return [[blocks]]
