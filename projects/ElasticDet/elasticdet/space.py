"""The space of a family: its children and their configs. Pure Python."""

import random
from typing import Any, Dict, Optional

from yacs.config import CfgNode

from detnas.choices import Candidate, Choice, ChoiceSpace
from detnas.errors import UserError
from detnas.zoo import SUPERNET

SIZE = "size"
#: keys of sides in pixels, one or several numbers each, that scale with the size
_SIDES = "INPUT.MIN_SIZE_TRAIN INPUT.MAX_SIZE_TRAIN INPUT.MAX_SIZE_TEST SEARCH.DETECTOR_RESOLUTION".split()
_ANCHORS = "MODEL.ANCHOR_GENERATOR.SIZES"


class ElasticSpace(ChoiceSpace):
    """
    Children of one family. The first of ``choices`` is the size; the others have the names of config keys.
    ``settings``: key of a config -> the largest child's value.
    """

    def __init__(self, choices, settings):
        super().__init__("elastic", choices)
        self.largest_settings = settings

    def __repr__(self):
        return f"{self.name} {self.choices}"

    def header(self) -> Dict[str, Any]:
        """The part of a log's header that describes the space."""
        return {"space": self.name, "choices": list(map(list, self.choices)), "largest": self.largest_settings}

    @classmethod
    def read(cls, header) -> "ElasticSpace":
        """The reverse of :meth:`header`."""
        choices = tuple(Choice(name, tuple(values), ordered) for name, values, ordered in header["choices"])
        return cls(choices, header["largest"])

    @property
    def largest(self) -> Candidate:
        """The child with the largest value of every choice."""
        return tuple(len(choice.values) - 1 for choice in self.choices)

    def random(self, rng: random.Random) -> Candidate:
        """Draw a child. All sizes get equally many pixels: small images learn more slowly and cost less."""
        first, *rest = super().random(rng)
        sizes = self.choices[0].values
        return (rng.choices(range(len(sizes)), [1 / size ** 2 for size in sizes])[0], *rest)

    def anchors(self) -> Dict[str, Candidate]:
        """Each size with the largest values of all other choices; smaller ones with less of what only tests see."""
        first, *others = self.largest
        return {f"size {size}": (i, *(most * i // max(1, first) if only_tests_see(choice.name) else most
                                      for choice, most in zip(self.choices[1:], others)))
                for i, size in enumerate(self.choices[0].values)}

    def settings(self, candidate: Candidate) -> Dict[str, Any]:
        size, *others = self.values(candidate).items()
        scale = size[1] / self.choices[0].values[-1]
        own = {
            **self.largest_settings,
            **{key: _scaled(self.largest_settings[key], scale, round) for key in _SIDES},
            "INPUT.MIN_SIZE_TEST": size[1],
            **dict(others),
        }
        return {**own, _ANCHORS: _scaled(own[_ANCHORS], scale, float)}


def only_tests_see(key: str) -> bool:
    """Whether a training ignores a key. The recalibration sees the sizes of test images."""
    return key.endswith("_TEST") and not key.startswith("INPUT.")


def _scaled(value, scale, kind):
    if isinstance(value, (list, tuple)):
        return [_scaled(one, scale, kind) for one in value]
    return kind(value * scale)


def family_space(cfg: CfgNode) -> Optional[ElasticSpace]:
    """
    The space of ``MODEL.ELASTIC``; None for a config without sizes. UserError for an unknown key, a last value that
    differs from the config, or a supernet as backbone.
    """
    elastic = cfg.MODEL.ELASTIC
    if not elastic.SIZES:
        return None
    if "detnas" in cfg.MODEL.BACKBONE.NAME and cfg.MODEL.DETNAS.ARCH == SUPERNET:
        raise UserError('MODEL.ELASTIC.SIZES are of one network, and MODEL.DETNAS.ARCH is "supernet": give an arch')
    _check_last("MODEL.ELASTIC.SIZES", elastic.SIZES, cfg, "INPUT.MIN_SIZE_TEST")
    choices = [Choice(SIZE, tuple(elastic.SIZES), True)]
    for key, *values in elastic.CHOICES:
        _check_last(f"MODEL.ELASTIC.CHOICES: {key}", values, cfg, key)
        choices.append(Choice(key, tuple(values), True))
    settings = {key: _read(cfg, key) for key in (*_SIDES, _ANCHORS)}
    # A child is an ordinary detector.
    settings |= {
        "MODEL.META_ARCHITECTURE": elastic.DETECTOR, "MODEL.ELASTIC.SIZES": (), "MODEL.ELASTIC.CHOICES": [],
        "MODEL.ELASTIC.DETECTOR": "",
    }
    return ElasticSpace(tuple(choices), settings)


def _check_last(name, values, cfg, key):
    largest = _read(cfg, key)
    if values[-1] != largest:
        raise UserError(f"{name}: the last value, {values[-1]}, must be the largest child's, {key} {largest}")


def _read(cfg, key):
    value = cfg
    try:
        for name in key.split("."):
            value = value[int(name) if isinstance(value, list) else name]
    except (KeyError, IndexError, TypeError, ValueError):
        raise UserError(f"MODEL.ELASTIC.CHOICES: there is no key {key}") from None
    return value
