"""The method of search that is known from the start; others register themselves when they are imported."""

from detnas.space import read_space

from .method import register_method

register_method("detnas", read_space, "detnas.search.paths:PathSearch")
