"""A candidate of a search with its results."""

import dataclasses
from typing import Any, Optional, Tuple


@dataclasses.dataclass(frozen=True)
class Candidate:
    """
    A candidate with its results.

    Args:
        network: the candidate itself, as its space parses it: a tuple of op indices, or a code.
        generation: when it was proposed, from 0.
        score: the fitness, higher is better, AP in 0..100; None if the evaluation failed or a race stopped it.
        metrics: results by name; None for a result that could not be computed.
        costs: costs by name, such as "backbone_flops" (multiply-adds).
        seconds, worker: duration and place of the last try.
        error: why the last try failed; None if it succeeded.
        parents: networks it was made from; empty if it was drawn at random.
        looks: in a race, {"images": number of images seen, "score": on these} for each rung it reached.
    """

    network: Any
    generation: int = 0
    score: Optional[float] = None
    metrics: dict = dataclasses.field(default_factory=dict)
    costs: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    worker: str = ""
    tries: int = 1
    error: Optional[str] = None
    parents: Tuple[Any, ...] = ()
    looks: Tuple[dict, ...] = ()

    @property
    def stopped(self):
        """The look after which a race stopped it; None if it saw all images or failed."""
        return self.looks[-1] if self.looks and self.score is None and self.error is None else None

    @property
    def result(self):
        """Its score in words, or why it has none."""
        if self.score is not None:
            return f"{self.score:.2f}"
        look = self.stopped
        return f"stopped at {look['score']:.2f} after {look['images']} images" if look else "failed"


def fitness(metrics, metric):
    """The score by ``SEARCH.METRIC``, higher is better: "-" before the metric's name negates its value."""
    value = metrics[metric.removeprefix("-")]
    return -value if value is not None and metric.startswith("-") else value


def by_score(candidate):
    """Sort key, best first. Networks break ties, so the order in which workers finish does not matter."""
    return (-candidate.score, candidate.network)
