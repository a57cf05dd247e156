"""An example search method in 40 lines: three choices, one ordered. Importing it adds ``SEARCH.METHOD places``."""

import functools

from detnas.choices import Choice, ChoiceSpace
from detnas.search.evolution import Searcher
from detnas.search.method import Method, register_method

SPACE = ChoiceSpace(
    "places", (Choice("size", (160, 320, 480, 640, 800), ordered=True), Choice("depth", (2, 3)), Choice("op", "abc"))
)


def evaluate(factor, candidate, parents):
    values = SPACE.values(candidate)
    return {"value": factor * (values["size"] / 160 + values["depth"] + "bca".index(values["op"]))}


class Work:
    """The costs: multiply-adds in proportion to size and depth."""

    metrics = ("backbone_flops",)

    def cost(self, metric, candidate):
        values = SPACE.values(candidate)
        return values["size"] * values["depth"]

    def bounds(self, metric):
        return 320, 2400

    def header(self):
        return {}


class PlacesSearch(Method):
    def __init__(self, cfg, args):
        self.space, self.costs, self.seed = SPACE, Work(), max(cfg.SEED, 0)
        counts = {"population": 4, "num_parents": 2, "num_mutate": 2, "num_cross": 1}
        self.searcher = Searcher(self.space, any, **counts, seed=self.seed)

    def header(self):
        return {"space": self.space.name, "seed": self.seed, "metric": "value"}

    def evaluator(self):
        return functools.partial(functools.partial, evaluate, 2)

    def finish(self, log, evaluator):
        return [f"Best: {self.space.format(log.best()[0].network)}"]


register_method("places", lambda header: SPACE, PlacesSearch)
