"""Registers the method "detnas". Other packages register their methods when they are imported."""

from detnas.space import read_space

from .method import register_method

register_method("detnas", read_space, "detnas.search.paths:PathSearch")
