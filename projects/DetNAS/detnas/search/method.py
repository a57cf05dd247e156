"""The interface of a search method, and the registry in which ``SEARCH.METHOD`` names one."""

import importlib
import importlib.util

from detnas.errors import UserError

_methods = {}


class Method:
    """
    A search method, made from a config that is fitted to this machine, and the command line of ``search_net.py``. Its
    candidates can be hashed, compared and pickled.

    Attributes:
        space: a :class:`detnas.choices.Space` of the candidates.
        costs: a :class:`detnas.cost.costs.Costs`, kept in the log.
        searcher: has ``size(generation)`` and ``lineage(history, generation)`` -> {candidate: parents}, which depends
            on seed and history alone, see :class:`detnas.search.evolution.Searcher`.
        race: a :class:`detnas.search.racing.Race`; None evaluates every candidate to the end.
        writes_front: whether :meth:`finish` follows ``SEARCH.FRONT_WINNERS``.
    """

    race = None
    writes_front = False

    @classmethod
    def check_before_training(cls, cfg):
        """Called before ``train_net.py`` trains for hours: checks the settings of the search."""

    def header(self):
        """The settings that a continued search must share, for JSON; with the name of the space."""
        raise NotImplementedError

    def evaluator(self):
        """A picklable ``build()`` that returns (candidate, parents, in a race scores to beat) -> dict of metrics."""
        raise NotImplementedError

    def check_evaluator(self):
        """Called before workers start: raises what would make every worker fail."""

    def before_generation(self, log, generation):
        """Called before a generation is proposed or continued; never in an asynchronous search."""

    def on_best(self, candidate):
        """Called with a :class:`detnas.search.candidate.Candidate` that is the best so far."""

    def on_candidate(self, log, needed):
        """Called for each logged candidate, after :meth:`on_best`; ``needed()``: the parents of unfinished ones."""

    def finish(self, log, evaluator):
        """Called after a search with a builder of evaluators; returns lines for the user. OSError if a write fails."""
        return []

    @classmethod
    def pick(cls, cfg, args):
        """``search_net.py --pick``: write config and weights of the best candidate within a limit."""
        raise UserError(f'SEARCH.METHOD "{cfg.SEARCH.METHOD}" keeps the best candidate alone')

    @classmethod
    def evaluate(cls, cfg, args):
        """``search_net.py --eval-only`` and ``--arch``: evaluate one candidate; show and return its metrics."""
        raise UserError(f'SEARCH.METHOD "{cfg.SEARCH.METHOD}" evaluates no candidate by itself')


def register_method(name, read_space, method):
    """
    Make a method known.

    Args:
        name: for ``SEARCH.METHOD``. It is the package's name, alone or with ``_`` and more after it, so that a log can
            be read before the package is imported.
        read_space: header of a log -> space of its candidates. It is quick to import: a look at a log needs only this.
        method: a subclass of :class:`Method`, or "module:class" if that is slow to import.
    """
    _methods[name] = read_space, method


def read_space(header):
    """The space of a log's candidates, from the log's header; UserError if its method is unknown."""
    return _find(header["method"])[0](header)


def get_method(name):
    """The class of a method; UserError if no method has this name."""
    method = _find(name)[1]
    if isinstance(method, str):
        module, _, attribute = method.partition(":")
        method = getattr(importlib.import_module(module), attribute)
    return method


def _find(name):
    # Importing a package registers its methods. Their names begin with the package's (elasticdet's without "det").
    first = str(name).partition("_")[0]
    for package in (first, f"{first}det"):
        if name not in _methods and package.isidentifier() and importlib.util.find_spec(package):
            importlib.import_module(package)
    if name not in _methods:
        raise UserError(f'unknown SEARCH.METHOD "{name}"; there are: {", ".join(_methods)}')
    return _methods[name]
