"""Pictures and the report page, from search logs: ``python -m detnas.report --help``."""

from .archs import plot_archs
from .command import main
from .curves import plot_costs, plot_generations, plot_search, plot_searches, plot_top
from .descent import plot_descent
from .page import write_page

__all__ = ["main", "plot_archs", "plot_costs", "plot_descent", "plot_generations", "plot_search", "plot_searches",
           "plot_top", "write_page"]
