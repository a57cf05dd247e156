"""Draws the path that an iteration trains (paper, Sec. 3.2)."""

import random

from detnas.modeling.choices import activate


class UniformSampler:
    """Draws a path uniformly. It depends on (seed, iteration) alone, so all ranks draw the same one."""

    def __init__(self, space, seed):
        self.space, self.seed = space, seed

    def __call__(self, iteration, part=0):
        return self.space.random(random.Random(f"path {self.seed} {iteration}"))


class FairSampler:
    """
    Draws a path from (seed, iteration, part) alone. Where blocks have K ops, K passes in a row train each op once (Chu
    et al., FairNAS, Sec. 3.3); blocks with fewer ops repeat some. As there, K ``parts`` per iteration share one update.
    """

    def __init__(self, space, seed, parts=1):
        self.space, self.seed, self.parts = space, seed, parts

    def __call__(self, iteration, part=0):
        sizes = [len(choice.values) for choice in self.space.choices]
        turn, number = divmod(iteration * self.parts + part, max(sizes))
        rng = random.Random(f"path {self.seed} {turn}")
        rounds = [[rng.sample(range(size), size) for _ in range(0, max(sizes), size)] for size in sizes]
        return tuple([value for drawn in place for value in drawn][number] for place in rounds)


def sampled_settings(sampler, iteration, part):
    """The config of the path of a pass: {key: value}."""
    return sampler.space.settings(sampler(iteration, part))


def build_sampler(cfg, space):
    """The sampler that ``SUPERNET.PATH_SAMPLING`` names."""
    seed = max(cfg.SEED, 0)
    if cfg.SUPERNET.PATH_SAMPLING == "fair":
        return FairSampler(space, seed, cfg.SOLVER.ACCUMULATE)
    return UniformSampler(space, seed)


class PathSampling:
    """Activates the sampler's path in a model before each part of a batch."""

    def __init__(self, model, sampler):
        self.model, self.sampler, self.path = model, sampler, None

    def __call__(self, iteration, part=0):
        self.path = self.sampler(iteration, part)
        activate(self.model, self.sampler.space, self.path)

    @property
    def text(self):
        return self.sampler.space.format(self.path)
