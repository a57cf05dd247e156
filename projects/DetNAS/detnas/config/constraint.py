"""Limits on costs of candidates, as configs write them."""

import re
from dataclasses import dataclass
from typing import Tuple

from detnas.errors import UserError

#: cost that a constraint may limit -> unit
METRICS = {
    "backbone_flops": "M",
    "backbone_params": "M",
    "detector_flops": "M",
    "detector_params": "M",
    "backbone_latency_ms": "ms",
    "detector_latency_ms": "ms",
}


def format_cost(metric: str, value: float) -> str:
    """Write a cost with its unit, such as 300.0M."""
    return f"{value:.1f} ms" if METRICS[metric] == "ms" else f"{value / 1e6:.1f}M"


@dataclass(frozen=True)
class Constraint:
    """Keep a cost of a candidate between ``min`` and ``max``, both included."""

    metric: str
    max: float
    min: float = 0

    @classmethod
    def parse(cls, text: str) -> "Constraint":
        """Read ``backbone_flops <= 300e6`` or ``250e6 <= backbone_flops <= 300e6``. Raises UserError otherwise."""
        match = re.fullmatch(r"\s*(?:(\S+)\s*<=\s*)?([a-z_]+)\s*<=\s*(\S+)\s*", text)
        try:
            least, metric, most = match.groups() if match else ("", "", "")
            low, high = float(least or 0), float(most)
            if not 0 <= low <= high or not high:
                raise ValueError
        except ValueError:
            raise UserError(f'constraint "{text}": write it as "backbone_flops <= 300e6"') from None
        if metric not in METRICS:
            raise UserError(f'constraint "{text}": unknown metric "{metric}"; there are: {", ".join(METRICS)}')
        return cls(metric, high, low)

    def __str__(self):
        low = f"{format_cost(self.metric, self.min)} <= " if self.min else ""
        return f"{low}{self.metric} <= {format_cost(self.metric, self.max)}"

    def allows(self, value: float) -> bool:
        return self.min <= value <= self.max

    def excess(self, value: float) -> float:
        """Distance of a cost from the limit, 0 within it."""
        return max(value - self.max, self.min - value, 0)

    def check_reachable(self, space: str, bounds: Tuple[float, float]) -> None:
        """Raise UserError if no cost within the ``bounds`` (smallest, largest) of a space meets the constraint."""
        low, high = bounds
        for wrong, words, limit, bound in (
            (self.max < low, "at most", self.max, f"smallest has {format_cost(self.metric, low)}"),
            (self.min > high, "at least", self.min, f"largest has {format_cost(self.metric, high)}"),
        ):
            if wrong:
                given = format_cost(self.metric, limit)
                raise UserError(f'no network of "{space}" has {words} {given} {self.metric}; the {bound}')
