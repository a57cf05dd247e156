"""The space of a supernet's paths, as the header of a log names it."""

import dataclasses

from detnas.config.keys import OWN_SPACE
from detnas.space import SearchSpace, get_space


def write_path_space(space):
    """The part of a header that says in which :class:`detnas.space.SearchSpace` a search is."""
    own = {"own_space": dataclasses.asdict(space)} if space.name == OWN_SPACE else {}
    return {"space": space.name, **own}


def read_path_space(header):
    """The reverse of :func:`write_path_space`."""
    if header["space"] != OWN_SPACE:
        return get_space(header["space"])
    own = header["own_space"]
    return SearchSpace(**{key: tuple(value) if isinstance(value, list) else value for key, value in own.items()})
