"""Which path an iteration trains (paper, Sec. 3.2: one path at random)."""

import random

from detectron2.engine import HookBase

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
