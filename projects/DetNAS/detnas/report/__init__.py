"""Pictures and the report page, from search logs: ``python -m detnas.report --help``."""

from .command import main
from .curves import plot_search, plot_top
from .page import write_page

__all__ = ["main", "plot_search", "plot_top", "write_page"]
