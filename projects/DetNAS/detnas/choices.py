"""
Spaces of named choices: a *candidate* is a tuple of small ints, for each place the index of the value that stands
there. Pure Python.
"""

import itertools
import math
import operator
from random import Random
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Protocol, Tuple

from .errors import UserError

Candidate = Tuple[int, ...]


class Choice(NamedTuple):
    """
    One place of a candidate.

    Args:
        name: such as "stage2.3"; modules and settings know the place by it.
        values: what can stand there, at least one.
        ordered: whether neighbouring values are alike, as sizes are and kinds of layers are not.
    """

    name: str
    values: Tuple[Any, ...]
    ordered: bool = False


class Space(Protocol):
    """What a search needs of the space of its candidates, which can be hashed, ordered and pickled."""

    name: str

    def parse(self, text: str):
        """The candidate of a text; UserError if it is of none."""

    def format(self, candidate) -> str:
        """The reverse of :meth:`parse`."""

    def neighbours(self, candidate, rng: Random) -> Iterator:
        """The candidates one step away, in random order."""

    def anchors(self) -> Dict[str, Any]:
        """Candidates that have a name, as baselines: name -> candidate."""

    def settings(self, candidate) -> Dict[str, Any]:
        """The config of a candidate: key -> value."""

    def drawing(self, candidate) -> List:
        """
        A candidate as blocks for a report: list of stages, each a list of lines that lie beside each other, each a list
        of blocks: (text, fill, colour of the text, entry of the legend).
        """


class ChoiceSpace:
    """
    All combinations of the values of some places; a :class:`Space`.

    Args:
        name: how logs call it.
        choices: the places, with different names.
    """

    def __init__(self, name: str, choices: Tuple[Choice, ...]):
        self.name, self.choices = name, tuple(choices)

    @property
    def size(self) -> int:
        """Number of candidates."""
        return math.prod(len(choice.values) for choice in self.choices)

    def check(self, candidate: Iterable[int]) -> Candidate:
        """The candidate as a tuple of ints; UserError if its length or one of its ints does not fit the space."""
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
        """What stands in each place: name -> value."""
        return {choice.name: choice.values[index] for index, choice in zip(self.check(candidate), self.choices)}

    def random(self, rng: Random) -> Candidate:
        """A candidate drawn uniformly with ``rng``."""
        return tuple(rng.randrange(len(choice.values)) for choice in self.choices)

    def all(self) -> Iterator[Candidate]:
        """Every candidate, in order."""
        return itertools.product(*(range(len(choice.values)) for choice in self.choices))

    def mutate(self, candidate: Candidate, prob: float, rng: Random) -> Candidate:
        """Draw each place anew with probability ``prob``."""
        return tuple(
            rng.randrange(len(choice.values)) if rng.random() < prob else index
            for index, choice in zip(candidate, self.choices)
        )

    def cross(self, a: Candidate, b: Candidate, rng: Random) -> Candidate:
        """Take each place from either candidate by a fair coin."""
        return tuple(rng.choice(pair) for pair in zip(a, b))

    def neighbours(self, candidate: Candidate, rng: Random) -> Iterator[Candidate]:
        """The candidates that differ in one place, in an ordered one by one value, in random order."""
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
        """One line with a block for each place, the darker the later its value comes in the choice."""
        shades = [round(0.95 - 0.7 * index / max(len(c.values) - 1, 1), 2) for index, c in zip(candidate, self.choices)]
        blocks = [
            (str(index), str(shade), "black" if shade > 0.5 else "white", f"value {index}")
            for index, shade in zip(candidate, shades)
        ]
        return [[blocks]]
