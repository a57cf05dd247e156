"""Style of the pictures, and how they are written. The colour-blind can tell all colours apart."""

import contextlib
import os

import matplotlib
from detectron2.utils.file_io import PathManager

from detnas.errors import UserError

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  after the backend is chosen

#: colours of searches (Okabe and Ito)
SEARCH_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a8508a", "#6b6b6b", "#8a6d00")
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a939c",
    "axes.labelcolor": "#39434d",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e9ec",
    "xtick.color": "#5c6670",
    "ytick.color": "#5c6670",
    "legend.frameon": False,
    "font.size": 9.5,
    "svg.hashsalt": "detnas",
    # A $ in the name of a folder begins no formula.
    "text.parse_math": False,
}
FORMATS = ("png", "svg", "pdf")


def search_colour(index):
    return SEARCH_COLOURS[index % len(SEARCH_COLOURS)]


@contextlib.contextmanager
def figure(files, width=7.0, height=4.0, **subplots):
    """A figure, sized in inches, and its axes; written at the end into PathManager's files: .png, .svg or .pdf."""
    forms = [picture_format(file) for file in files]
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(figsize=(width, height), layout="constrained", **subplots)
        try:
            yield fig, axes
            for file, form in zip(files, forms):
                # No date: the same log gives the same file.
                date = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[form]
                with PathManager.open(file, "wb") as f:
                    fig.savefig(f, dpi=130, format=form, metadata=date)
        finally:
            plt.close(fig)


def picture_format(file):
    form = os.path.splitext(file)[1][1:].lower()
    if form not in FORMATS:
        raise UserError(f"{file}: a picture must end in {', '.join('.' + name for name in FORMATS)}")
    return form


def readable(value):
    """A cost in few digits: 288.1M for 288082368."""
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"
