"""
A method of search in 40 lines, as an example of how to add one: strings of 6 bits, worth the number that they are.
Whoever imports this module can say ``SEARCH.METHOD bits``.
"""

import functools

from detnas.search.evolution import Searcher
from detnas.search.method import Method, register_method


class BitSpace:
    name, num_blocks, ops = "bits", 6, "01"

    def parse(self, text):
        return tuple(map(int, text))

    def format(self, candidate):
        return "".join(map(str, candidate))

    def random_path(self, rng):
        return tuple(rng.randrange(2) for _ in range(self.num_blocks))


def evaluate(factor, candidate, parents):
    return {"value": factor * float(int("".join(map(str, candidate)), 2))}


class BitSearch(Method):
    def __init__(self, cfg, args):
        self.space, self.seed = BitSpace(), max(cfg.SEED, 0)
        counts = {"population": 4, "num_parents": 2, "num_mutate": 2, "num_cross": 1}
        self.searcher = Searcher(self.space, any, **counts, seed=self.seed)

    def costs(self, candidate):
        return {"ones": sum(candidate)}

    def header(self):
        return {"space": self.space.name, "seed": self.seed, "metric": "value"}

    def evaluator(self):
        return functools.partial(functools.partial, evaluate, 2)

    def finish(self, log, evaluator):
        return [f"Best: {self.space.format(log.best()[0].path)}"]


register_method("bits", lambda header: BitSpace(), BitSearch)
