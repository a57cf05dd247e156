"""TPE, the tree-structured Parzen estimator of Optuna (Bergstra et al., 2011), with a variable for each block's op."""

from dataclasses import dataclass

from .proposals import PathProposer

#: proposals of the estimator for each path of a generation, after which the rest is drawn at random
_ASKED = 10


@dataclass(frozen=True)
class TPESearcher(PathProposer):
    """
    The first generation is random. The study of Optuna is built anew from the history for every generation, with a
    sampler of a seed of its own, so that the log stays the whole state of a search.

    Args:
        multivariate: one estimator of all blocks together; else one for each block.

    Raises:
        ValueError: if Optuna is not installed.
    """

    multivariate: bool = True

    def __post_init__(self):
        _optuna()

    def propose(self, found, scored, rng):
        self._ask(found, scored, self.population, rng)

    def propose_next(self, found, scored, rng):
        if scored:
            self._ask(found, scored, 1, rng)

    def _ask(self, found, scored, count, rng):
        optuna = _optuna()
        choices = optuna.distributions.CategoricalDistribution(range(len(self.space.ops)))
        blocks = {str(block): choices for block in range(self.space.num_blocks)}
        # What was asked for and not told counts as bad: the path itself, and what is known or not legal.
        sampler = optuna.samplers.TPESampler(
            seed=rng.randrange(2**31), n_startup_trials=0, multivariate=self.multivariate, constant_liar=True
        )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials(
            optuna.trial.create_trial(params=dict(zip(blocks, c.path)), distributions=blocks, value=c.score)
            for c in sorted(scored, key=lambda c: (c.generation, c.path))
        )
        for _ in range(_ASKED * count):
            if len(found.paths) >= count:
                break
            params = study.ask(blocks).params
            found.add(tuple(params[block] for block in blocks), ())


def _optuna():
    try:
        import optuna
    except ImportError:
        raise ValueError('SEARCH.SEARCHER "tpe" needs Optuna: pip install optuna') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
