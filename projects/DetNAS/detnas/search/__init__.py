"""The method of search that is known from the start; others register themselves when they are imported."""

from .method import register_method
from .spaces import read_path_space

register_method("detnas", read_path_space, "detnas.search.paths:PathSearch")
