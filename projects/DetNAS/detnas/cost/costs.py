"""What candidates cost, by the names of metrics, wherever the numbers come from: a table, a count, a measurement."""

from typing import Dict, List, Optional, Protocol, Sequence, Tuple


class Costs(Protocol):
    """Costs of candidates; lower is better."""

    @property
    def metrics(self) -> Sequence[str]:
        """The names of the costs that it knows, out of :data:`detnas.config.constraint.METRICS` or others."""

    def cost(self, metric: str, candidate) -> float:
        """A cost of a candidate; what is measured is kept."""

    def bounds(self, metric: str) -> Optional[Tuple[float, float]]:
        """The smallest and the largest cost of all candidates; None where only those asked for are known."""

    def header(self) -> Dict[str, str]:
        """What the costs depend on beside the candidate, for the header of a log."""


class JoinedCosts:
    """Several :class:`Costs`, with different metrics, as one."""

    def __init__(self, *parts: Costs):
        self.parts = parts
        self._of = {metric: part for part in parts for metric in part.metrics}

    @property
    def metrics(self) -> Sequence[str]:
        return tuple(self._of)

    def cost(self, metric: str, candidate) -> float:
        return self._of[metric].cost(metric, candidate)

    def bounds(self, metric: str) -> Optional[Tuple[float, float]]:
        return self._of[metric].bounds(metric)

    def parts_of(self, metric: str) -> List[Costs]:
        """The part that knows a metric, in a list; empty where none does."""
        return [part for part in self.parts if metric in part.metrics]

    def header(self) -> Dict[str, str]:
        return {key: text for part in self.parts for key, text in part.header().items()}


def all_costs(costs: Costs, candidate) -> Dict[str, float]:
    """Every cost of a candidate, by metric."""
    return {metric: costs.cost(metric, candidate) for metric in costs.metrics}
