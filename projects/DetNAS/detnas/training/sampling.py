"""Draws the path that an iteration trains (paper, Sec. 3.2: one at random)."""

import collections
import random

from detectron2.engine import HookBase

from detnas.cost.table import CostTable
from detnas.errors import UserError
from detnas.modeling.choices import activate

#: paths drawn to see how the multiply-adds of a space are spread
_PATHS = 20_000
#: draws for a path of one bin; a bin holds at least one path in a thousand, see BalancedSampler
_ATTEMPTS = 100_000


class UniformSampler:
    """Path of an iteration, uniform over the space; a function of (seed, iteration) alone, so equal on all ranks."""

    def __init__(self, space, seed):
        self.space, self.seed = space, seed

    def __call__(self, iteration):
        return self.space.random(random.Random(f"path {self.seed} {iteration}"))


class BalancedSampler:
    """
    Path of an iteration, uniform over bins of multiply-adds: uniform paths have nearly all the same cost, and the
    cheapest and the dearest would hardly be trained (released code). A function of (seed, iteration) alone.

    Args:
        flops: (smallest, largest) multiply-adds of the backbone at 224x224 that are drawn; empty: those of all random
            paths but the cheapest and the dearest thousandth.
        bins: number of bins of equal width.
    """

    def __init__(self, space, seed, flops=(), bins=7):
        self.space, self.seed, self.bins = space, seed, bins
        self._cost = CostTable.measure(space).flops
        rng = random.Random("paths of a space")
        costs = sorted(self._cost(space.random(rng)) for _ in range(_PATHS))
        tail = _PATHS // 1000
        self.low, self.high = flops or (costs[tail], costs[-tail])
        counts = collections.Counter(map(self._bin, costs))
        number = min(range(bins), key=counts.__getitem__)
        if counts[number] < tail:
            raise UserError(
                f"SUPERNET.BALANCED_FLOPS ({self.low / 1e6:.1f}e6, {self.high / 1e6:.1f}e6): "
                f'bin {number + 1} of {bins} holds {counts[number]} of {_PATHS} random paths of "{space.name}"; '
                f"those cost {costs[0] / 1e6:.1f}e6 to {costs[-1] / 1e6:.1f}e6: narrow the range, or take fewer bins"
            )

    def _bin(self, cost):
        """The number of its bin; None if it is out of range."""
        in_range = self.low <= cost < self.high
        return int((cost - self.low) / (self.high - self.low) * self.bins) if in_range else None

    def __call__(self, iteration):
        rng = random.Random(f"path {self.seed} {iteration}")
        wanted = rng.randrange(self.bins)
        for _ in range(_ATTEMPTS):
            path = self.space.random(rng)
            if self._bin(self._cost(path)) == wanted:
                return path
        raise RuntimeError(f"no path of bin {wanted + 1} in {_ATTEMPTS} draws")


class FairSampler:
    """
    Path of a pass, such that as many passes in a row as a block has ops train each op of each block once (Chu et al.,
    FairNAS, Sec. 3.3). With that many ``parts``, passes of an iteration, they share one update, as there. A place with
    fewer values than another has some of them again. A function of (seed, iteration, part) alone.
    """

    def __init__(self, space, seed, parts=1):
        self.space, self.seed, self.parts = space, seed, parts

    def __call__(self, iteration, part=0):
        sizes = [len(choice.values) for choice in self.space.choices]
        turn, number = divmod(iteration * self.parts + part, max(sizes))
        rng = random.Random(f"path {self.seed} {turn}")
        rounds = [[rng.sample(range(size), size) for _ in range(0, max(sizes), size)] for size in sizes]
        return tuple([value for drawn in place for value in drawn][number] for place in rounds)


def build_sampler(cfg, space):
    """The sampler that ``SUPERNET.PATH_SAMPLING`` names."""
    supernet, seed = cfg.SUPERNET, max(cfg.SEED, 0)
    if supernet.PATH_SAMPLING == "balanced":
        return BalancedSampler(space, seed, tuple(supernet.BALANCED_FLOPS), supernet.BALANCED_BINS)
    if supernet.PATH_SAMPLING == "fair":
        return FairSampler(space, seed, cfg.SOLVER.ACCUMULATE)
    return UniformSampler(space, seed)


class PathSamplingHook(HookBase):
    """Activate the path of every iteration before it; a fair one also between the parts of its batch."""

    def __init__(self, model, sampler):
        self.model, self.sampler, self.path = model, sampler, None

    def before_step(self):
        self._activate(self.sampler(self.trainer.iter))

    def before_part(self, part):
        if isinstance(self.sampler, FairSampler):
            self._activate(self.sampler(self.trainer.iter, part))

    def _activate(self, path):
        self.path = path
        activate(self.model, self.sampler.space, path)

    @property
    def text(self):
        """The path that is active, as text."""
        return self.sampler.space.format(self.path)
