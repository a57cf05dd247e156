"""Draws the path that an iteration trains (paper, Sec. 3.2: one at random)."""

import random

from detnas.modeling.choices import activate


class UniformSampler:
    """Path of an iteration, uniform over the space; a function of (seed, iteration) alone, so equal on all ranks."""

    def __init__(self, space, seed):
        self.space, self.seed = space, seed

    def __call__(self, iteration, part=0):
        return self.space.random(random.Random(f"path {self.seed} {iteration}"))


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


def sampled_settings(sampler, iteration, part):
    """What the path of a pass says in a config: {key: value}."""
    return sampler.space.settings(sampler(iteration, part))


def build_sampler(cfg, space):
    """The sampler that ``SUPERNET.PATH_SAMPLING`` names."""
    seed = max(cfg.SEED, 0)
    if cfg.SUPERNET.PATH_SAMPLING == "fair":
        return FairSampler(space, seed, cfg.SOLVER.ACCUMULATE)
    return UniformSampler(space, seed)


class PathSampling:
    """Activates a path in a model before each part of a batch: a fair one for each, else that of the iteration."""

    def __init__(self, model, sampler):
        self.model, self.sampler, self.path = model, sampler, None

    def __call__(self, iteration, part=0):
        self.path = self.sampler(iteration, part)
        activate(self.model, self.sampler.space, self.path)

    @property
    def text(self):
        """The path that is active, as text."""
        return self.sampler.space.format(self.path)
