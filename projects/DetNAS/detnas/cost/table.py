"""Costs of paths, from a table of the costs of every op of every block."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Tuple

import torch
from detectron2.config import CfgNode

from detnas.choices import Candidate
from detnas.modeling.backbone import DetNASSupernet
from detnas.modeling.choices import activate
from detnas.space import SearchSpace

from .costs import Costs
from .detector import detector_costs, padded_size
from .flops import count_flops, shapes_alone


@dataclass(frozen=True)
class CostTable(Costs):
    """
    :class:`detnas.cost.costs.Costs` as sums of ``stem[metric]`` and of ``table[metric][block][op]`` over blocks. The
    metrics are "backbone_flops" (multiply-adds), "backbone_params", and those of :func:`with_detector`.
    """

    space: SearchSpace
    stem: dict
    table: dict

    @classmethod
    def measure(cls, space: SearchSpace, resolution: Tuple[int, int] = (224, 224)) -> "CostTable":
        """Count exactly for images (height, width), on torch's meta device, with one pass for each op; cached."""
        return _measure(space, tuple(resolution))

    def cost(self, metric: str, path: Candidate) -> int:
        return self.stem[metric] + sum(ops[op] for ops, op in zip(self.table[metric], path))

    def flops(self, path: Candidate) -> int:
        """Multiply-adds of the backbone for one image."""
        return self.cost("backbone_flops", path)

    def params(self, path: Candidate) -> int:
        """Parameters of the backbone."""
        return self.cost("backbone_params", path)

    @property
    def metrics(self) -> Tuple[str, ...]:  # type: ignore[override]
        return tuple(self.table)

    def bounds(self, metric: str) -> Tuple[int, int]:
        """Smallest and largest cost over all paths; exact, because blocks add up."""
        stem, table = self.stem[metric], self.table[metric]
        return stem + sum(map(min, table)), stem + sum(map(max, table))


@functools.lru_cache(maxsize=None)
def _measure(space, resolution):
    with shapes_alone(), torch.no_grad():
        supernet = DetNASSupernet(space).eval()
        with count_flops(supernet) as flops:
            for op in range(len(space.ops)):
                activate(supernet, space, (op,) * space.num_blocks)
                supernet(torch.empty(1, 3, *resolution))
    for module in supernet.stem.modules():  # the stem ran in every pass, each op once
        if module in flops:
            flops[module] //= len(space.ops)
    measures = {
        "backbone_flops": lambda module: sum(flops[m] for m in module.modules() if m in flops),
        "backbone_params": lambda module: sum(p.numel() for p in module.parameters()),
    }
    stem = {name: measure(supernet.stem) for name, measure in measures.items()}
    table = {
        name: tuple(tuple(measure(op) for op in block) for block in supernet.choice_blocks())
        for name, measure in measures.items()
    }
    return CostTable(space, stem, table)


def with_detector(table: CostTable, cfg: CfgNode, resolution: Tuple[int, int]) -> CostTable:
    """Add "detector_flops" and "detector_params": a constant, and the backbone at the padded (height, width)."""
    costs = detector_costs(cfg, resolution)
    at_size = CostTable.measure(table.space, padded_size(cfg, resolution))
    stem, ops = dict(table.stem), dict(table.table)
    for metric in ("flops", "params"):
        rest = costs["whole"][metric] - costs["backbone"][metric]
        stem[f"detector_{metric}"] = at_size.stem[f"backbone_{metric}"] + rest
        ops[f"detector_{metric}"] = at_size.table[f"backbone_{metric}"]
    return dataclasses.replace(table, stem=stem, table=ops)
