"""Limits of a search on costs of candidates."""

import random
from typing import Any, Sequence, Set

from fvcore.common.config import CfgNode

from detnas.choices import Space
from detnas.config.constraint import Constraint, format_cost
from detnas.config.load import with_settings
from detnas.errors import UserError

from .costs import Costs

LATENCY, DETECTOR_LATENCY = "backbone_latency_ms", "detector_latency_ms"
#: random candidates that are tried against the limits, and how many of them are timed
_CANDIDATES, _TIMED = 20_000, 20
#: most steps of a repair
_STEPS = 200


class Limits:
    """
    ``limits(candidate)`` says whether a candidate meets all constraints. Latency is slow to measure and comes last.
    Raises UserError for wrong constraints, or if ``start`` or all tried random candidates break them.

    Args:
        constraints: texts, as in ``SEARCH.CONSTRAINTS``.
        start: candidate that a search begins with; None: it begins at random.
        seed: of the random candidates that are tried without ``start``.
    """

    space: Any  # a Space, with what its kind has besides
    costs: Any  # Costs

    def __init__(self, space: Space, constraints: Sequence[str], costs: Costs, start=None, seed: int = 0):
        self.space, self.costs = space, costs
        self.constraints = sorted(map(Constraint.parse, constraints), key=lambda c: c.metric == LATENCY)
        for constraint in self.constraints:
            check_costs([constraint.metric], costs, "SEARCH.CONSTRAINTS")
        self._quick = [c for c in self.constraints if c.metric != LATENCY]
        if start is None:
            self._check_reachable(random.Random(f"limits {seed}"))
        else:
            self._check_start(start)

    def __call__(self, candidate):
        return all(constraint.allows(self.costs.cost(constraint.metric, candidate)) for constraint in self.constraints)

    def repair(self, candidate, rng: random.Random):
        """Go from neighbour to neighbour towards broken limits. The result may still break some."""
        for _ in range(_STEPS):
            broken = [c for c in self._quick if not c.allows(self.costs.cost(c.metric, candidate))]
            if not broken:
                break
            constraint = rng.choice(broken)
            excess = constraint.excess(self.costs.cost(constraint.metric, candidate))
            nearer = (each for each in self.space.neighbours(candidate, rng)
                      if constraint.excess(self.costs.cost(constraint.metric, each)) < excess)
            candidate = next(nearer, candidate)
        return candidate

    def _check_start(self, start):
        ((key, text),) = self.space.settings(start).items()
        for constraint in self.constraints:
            cost = self.costs.cost(constraint.metric, start)
            if not constraint.allows(cost):
                raise UserError(
                    f'the start network, {key} "{text}", has {format_cost(constraint.metric, cost)} '
                    f"{constraint.metric}, which breaks the limit {constraint}"
                )

    def _check_reachable(self, rng):
        timed = [c for c in self.constraints if c.metric == LATENCY]
        for constraint in self._quick:
            if bounds := self.costs.bounds(constraint.metric):
                constraint.check_reachable(self.space.name, bounds)
        legal = []
        for number in range(_CANDIDATES if self.constraints else 0):
            candidate = self.space.random(rng)
            candidate = self.repair(candidate, rng) if number % 10 == 9 else candidate  # finds rare ones
            if all(c.allows(self.costs.cost(c.metric, candidate)) for c in self._quick):
                legal.append(candidate)
                if len(legal) == (_TIMED if timed else 1):
                    break
        if self.constraints and not legal:
            raise UserError(
                f'no network of "{self.space.name}" was found that meets all of SEARCH.CONSTRAINTS together '
                f"({_CANDIDATES} were tried): {', '.join(map(str, self.constraints))}; "
                f"reachable one by one: {', '.join(self._reachable()) or 'unknown'}"
            )
        for constraint in timed:
            times = [self.costs.cost(LATENCY, candidate) for candidate in legal]
            if not any(map(constraint.allows, times)):
                raise UserError(
                    f'no network of "{self.space.name}" was found with {constraint}: of {len(times)} that meet the '
                    f"other limits the fastest takes {min(times):.1f} ms and the slowest {max(times):.1f} ms"
                )

    def _reachable(self):
        for metric in dict.fromkeys(c.metric for c in self._quick):
            if bounds := self.costs.bounds(metric):
                yield f"{metric} {' to '.join(format_cost(metric, bound) for bound in bounds)}"


def check_costs(names: Sequence[str], costs: Costs, key: str) -> None:
    for name in names:
        if name not in costs.metrics:
            raise UserError(f'{key}: unknown cost "{name}"; there are: {", ".join(costs.metrics)}')


def asked_costs(search: CfgNode) -> Set[str]:
    """Metrics that the ``SEARCH`` section of a config limits or has as objectives."""
    return {*search.OBJECTIVES, *(Constraint.parse(text).metric for text in search.CONSTRAINTS)}


def without_latency(cfg: CfgNode) -> CfgNode:
    """Copy a config for a training, without limits and objectives of latency: these belong to the search's machine."""
    search, latencies = cfg.SEARCH, (LATENCY, DETECTOR_LATENCY)
    objectives = [name for name in search.OBJECTIVES if name not in latencies]
    constraints = [text for text in search.CONSTRAINTS if Constraint.parse(text).metric not in latencies]
    return with_settings(cfg, {"SEARCH.OBJECTIVES": objectives, "SEARCH.CONSTRAINTS": constraints})
