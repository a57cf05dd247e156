"""Learning rate and momentum that depend on the path (Jeon et al., CVPR 2025): a trial, see docs/ground_truth.md."""

from collections import defaultdict

from detectron2.engine import HookBase

from detnas.cost import CostTable
from detnas.modeling.backbone import find_supernet


class SubnetAware(HookBase):
    """
    ``SUPERNET.CALR``: after the warm-up, the share f of the base rate that the schedule gives becomes f ** (1.5 - s),
    with s from 0 for a path with the fewest parameters to 1 for one with the most. ``SUPERNET.SEPARATE_MOMENTUM``: a
    momentum for each group of paths, those with the same op in the first block. Comes after the path is set. The
    momentum of the other groups is not in a checkpoint.
    """

    def __init__(self, cfg, model, optimizer):
        self.cfg, self.optimizer, self.supernet = cfg, optimizer, find_supernet(model)
        space = self.supernet.space
        self.params = CostTable.measure(space).params
        ops = range(len(space.ops))
        costs = [self.params((op,) * space.num_blocks) for op in ops]
        self.low, self.high = min(costs), max(costs)
        self.states = [defaultdict(dict) for _ in ops]

    def before_step(self):
        path = self.supernet.path
        if self.cfg.SUPERNET.SEPARATE_MOMENTUM:
            self.optimizer.state = self.states[path[0]]
        if self.cfg.SUPERNET.CALR and self.trainer.iter >= self.cfg.SOLVER.WARMUP_ITERS:
            share = (self.params(path) - self.low) / (self.high - self.low)
            for group in self.optimizer.param_groups:
                base = group["initial_lr"]
                group["lr"] = base * (group["lr"] / base) ** (1.5 - share)
