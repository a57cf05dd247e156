"""Tables, pictures and the report page, from search logs: ``python -m detnas.report --help``."""

from detnas.report.archs import named_archs, op_frequencies, plot_archs, plot_frequencies
from detnas.report.command import main
from detnas.report.curves import plot_costs, plot_generations, plot_random, plot_search, plot_searches, plot_top
from detnas.report.page import page_data, write_page
from detnas.report.results import results_table
from detnas.report.searches import best_so_far, generation_means, group_searches, search_labels, top_means, top_so_far
from detnas.report.times import times_table

__all__ = [
    "best_so_far",
    "generation_means",
    "group_searches",
    "main",
    "named_archs",
    "op_frequencies",
    "page_data",
    "plot_archs",
    "plot_costs",
    "plot_frequencies",
    "plot_generations",
    "plot_random",
    "plot_search",
    "plot_searches",
    "plot_top",
    "results_table",
    "search_labels",
    "times_table",
    "top_means",
    "top_so_far",
    "write_page",
]
