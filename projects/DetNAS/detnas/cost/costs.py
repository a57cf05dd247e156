"""Costs of candidates by metric, from tables, counts or measurements."""

from typing import Dict, Optional, Sequence, Tuple


class Costs:
    """Costs of candidates; lower is better."""

    #: names of the known costs, out of :data:`detnas.config.constraint.METRICS` or others
    metrics: Sequence[str]

    def cost(self, metric: str, candidate) -> float:
        """One cost of a candidate. Measured values are kept."""
        raise NotImplementedError

    def bounds(self, metric: str) -> Optional[Tuple[float, float]]:
        """Smallest and largest cost of all candidates, or None if unknown."""
        return None

    def header(self) -> Dict[str, str]:
        """For the header of a log: what the costs depend on beside the candidate."""
        return {}


class JoinedCosts(Costs):
    """Several :class:`Costs` with different metrics as one."""

    def __init__(self, *parts: Costs):
        self.parts = parts
        self._of = {metric: part for part in parts for metric in part.metrics}
        self.metrics = tuple(self._of)

    def cost(self, metric: str, candidate) -> float:
        return self._of[metric].cost(metric, candidate)

    def bounds(self, metric: str) -> Optional[Tuple[float, float]]:
        return self._of[metric].bounds(metric)

    def header(self) -> Dict[str, str]:
        return {key: text for part in self.parts for key, text in part.header().items()}


def all_costs(costs: Costs, candidate) -> Dict[str, float]:
    """All costs of a candidate: metric -> cost."""
    return {metric: costs.cost(metric, candidate) for metric in costs.metrics}
