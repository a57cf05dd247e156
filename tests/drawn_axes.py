"""What pictures are made of, for tests that look at more than whether a file is there."""

import contextlib

from detnas.report import style


@contextlib.contextmanager
def drawn_axes(patch, module):
    """A list to which the axes of every picture of a module of ``detnas.report`` are added, one or several of each."""
    axes, figure = [], style.figure

    @contextlib.contextmanager
    def recorded(*args, **kwargs):
        with figure(*args, **kwargs) as (fig, ax):
            axes.append(ax)
            yield fig, ax

    with patch.context() as own:
        own.setattr(module, "figure", recorded)
        yield axes
