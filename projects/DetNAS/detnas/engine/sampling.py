"""What is random in an iteration: the path it trains (paper, Sec. 3.2: one at random), and the rest."""

import random

from detectron2.engine import HookBase
from detectron2.utils import comm

from detnas.data.loader import seed_from
from detnas.modeling.backbone import find_supernet


class UniformSampler:
    """Path of an iteration, uniform over the space; a function of (seed, iteration) alone, so equal on all ranks."""

    def __init__(self, space, seed):
        self.space, self.seed = space, seed

    def __call__(self, iteration):
        return self.space.random_path(random.Random(f"path {self.seed} {iteration}"))


class SetPath(HookBase):
    """Set the supernet's path before every iteration."""

    def __init__(self, model, sampler):
        self.supernet, self.sampler = find_supernet(model), sampler

    def before_step(self):
        self.supernet.path = self.sampler(self.trainer.iter)


class SetSeed(HookBase):
    """Seed dropout, RoI sampling and the like by (seed, rank, iteration), so that a resumed run repeats them."""

    def __init__(self, seed):
        self.key = seed, comm.get_rank()

    def before_step(self):
        seed_from("iteration", *self.key, self.trainer.iter)
