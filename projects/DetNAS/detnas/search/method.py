"""
What differs between two methods of search, in one object; ``SEARCH.METHOD`` names it. Log, loop, executors, tables,
report and ``search_net.py`` know no method by name.
"""

import importlib
import importlib.util

from detnas.errors import UserError

_methods = {}


class Method:
    """
    What a search needs of a method, made from its config. Candidates are whatever the method likes that can be hashed,
    compared and pickled.

    Args:
        cfg: the config of the search, fitted to this machine.
        args: the command line of ``search_net.py``.

    Attributes:
        space: a :class:`detnas.choices.Space` of the candidates.
        costs: a :class:`detnas.cost.costs.Costs` of them, kept in the log.
        searcher: proposes candidates, see :class:`detnas.search.evolution.Searcher`: ``size(generation)``, and
            ``lineage(history, generation)`` -> {candidate: parents}, a function of seed and history alone.
        race: a :class:`detnas.search.racing.Race`; None where every candidate is evaluated to the end.
        writes_front: whether :meth:`finish` heeds ``SEARCH.FRONT_WINNERS``.
    """

    race = None
    writes_front = False

    @classmethod
    def check_before_training(cls, cfg):
        """Called before ``train_net.py`` trains what the config describes, hours before its search."""

    def header(self):
        """The settings that make two searches the same one, as JSON; with the method's and the space's name."""
        raise NotImplementedError

    def evaluator(self):
        """
        A function without arguments that can be pickled, and gives one: (candidate, the candidates it was made from) ->
        dict of metrics. In a race it also takes the scores to beat, see
        :class:`detnas.search.evaluator.RacedEvaluator`.
        """
        raise NotImplementedError

    def check_evaluator(self):
        """Called before workers are started, which would all fail."""

    def before_generation(self, log, generation):
        """
        Called before the candidates of a generation are proposed, also again when the search is taken up in it. Not
        called in an asynchronous search.
        """

    def on_best(self, candidate):
        """Called with a :class:`detnas.search.log.Candidate` that is the best so far."""

    def on_candidate(self, log, needed):
        """
        Called when a candidate has been written to the log, after :meth:`on_best`.

        Args:
            needed: function that gives the candidates from which those were made that are not finished.
        """

    def finish(self, log, evaluator):
        """
        Called when the search has ended, with its log and a function that gives an evaluator in this process.

        Returns:
            lines for the user.

        Raises:
            OSError: if something cannot be written.
        """
        return []

    @classmethod
    def pick(cls, cfg, args):
        """``search_net.py --pick``: write config and weights of the best candidate within a limit."""
        raise UserError(f'SEARCH.METHOD "{cfg.SEARCH.METHOD}" keeps the best candidate alone')

    @classmethod
    def evaluate(cls, cfg, args):
        """``search_net.py --eval-only`` and ``--arch``: evaluate one candidate, show its metrics and return them."""
        raise UserError(f'SEARCH.METHOD "{cfg.SEARCH.METHOD}" evaluates no candidate by itself')


def register_method(name, read_space, method):
    """
    Make a method known.

    Args:
        name: for ``SEARCH.METHOD``; that of the package, or begins with it and ``_``, so that a log is read without
            importing the package before.
        read_space: header of a log -> the space of its candidates. Quick to import: it is all that a look at a log
            needs.
        method: a subclass of :class:`Method`, or "module:class" of one that is slow to import.
    """
    _methods[name] = read_space, method


def read_space(header):
    """The space of a log's candidates."""
    return _find(header["method"])[0](header)


def get_method(name):
    """
    The class of a method.

    Raises:
        UserError: if there is none of that name.
    """
    method = _find(name)[1]
    if isinstance(method, str):
        module, _, attribute = method.partition(":")
        method = getattr(importlib.import_module(module), attribute)
    return method


def _find(name):
    # A package registers its methods, which begin with its name (elasticdet's without "det"), when it is imported.
    first = str(name).partition("_")[0]
    for package in (first, f"{first}det"):
        if name not in _methods and package.isidentifier() and importlib.util.find_spec(package):
            importlib.import_module(package)
    if name not in _methods:
        raise UserError(f'unknown SEARCH.METHOD "{name}"; there are: {", ".join(_methods)}')
    return _methods[name]
