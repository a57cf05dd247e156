"""What a path of a space costs: a table of what every op of every block costs."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from detectron2.config import CfgNode

from detnas.choices import Candidate
from detnas.modeling.backbone import DetNASSupernet
from detnas.modeling.choices import activate
from detnas.space import SearchSpace

from .detector import detector_costs
from .flops import count_flops, shapes_alone


@dataclass(frozen=True)
class CostTable:
    """
    The :class:`detnas.cost.costs.Costs` of what adds up: multiply-adds and parameters of every op of every block.

    ``table[metric][block][op]`` and ``stem[metric]``, with "backbone_flops" and "backbone_params" as metrics, and what
    :func:`with_detector` adds.
    """

    space: SearchSpace
    stem: dict
    table: dict

    @classmethod
    def measure(cls, space: SearchSpace, resolution: Tuple[int, int] = (224, 224)) -> "CostTable":
        """Measure a space on torch's meta device, one pass per op: exact, without any arithmetic, and only once."""
        return _measure(space, tuple(resolution))

    def cost(self, metric: str, path: Candidate) -> int:
        """Cost of a path by the metric's name."""
        return self.stem[metric] + sum(ops[op] for ops, op in zip(self.table[metric], path))

    def flops(self, path: Candidate) -> int:
        """Multiply-adds of the backbone for one image."""
        return self.cost("backbone_flops", path)

    def params(self, path: Candidate) -> int:
        """Parameters of the backbone."""
        return self.cost("backbone_params", path)

    @property
    def metrics(self) -> Tuple[str, ...]:
        return tuple(self.table)

    def header(self) -> Dict[str, str]:
        return {}

    def bounds(self, metric: str) -> Tuple[int, int]:
        """Smallest and largest value over all paths of the space; exact, because blocks add up."""
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
    # Every op ran once; the stem ran in every pass.
    for module in supernet.stem.modules():
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
    """
    A :class:`CostTable` with "detector_flops" and "detector_params" beside the backbone's: a detector costs what its
    backbone costs at the size of its images, and a constant.
    """
    costs = detector_costs(cfg, resolution)
    at_size = CostTable.measure(table.space, resolution)
    stem, ops = dict(table.stem), dict(table.table)
    for metric in ("flops", "params"):
        rest = costs["whole"][metric] - costs["backbone"][metric]
        stem[f"detector_{metric}"] = at_size.stem[f"backbone_{metric}"] + rest
        ops[f"detector_{metric}"] = at_size.table[f"backbone_{metric}"]
    return dataclasses.replace(table, stem=stem, table=ops)
