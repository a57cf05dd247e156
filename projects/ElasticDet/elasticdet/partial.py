"""Modules that run as a part of themselves: first channels, inner kernels, other numbers, or as the identity."""

import functools
import json
from typing import Any, Dict, NamedTuple, Tuple

import torch
from torch import nn

from detnas.modeling.choices import first_of


class Difference(NamedTuple):
    """How a module of a child differs from the largest child's."""

    #: the child lacks the module
    absent: bool = False
    #: smaller parameter or buffer -> its shape
    shapes: Dict[str, Tuple[int, ...]] = {}
    #: attribute -> its value, such as the number of groups; of a dict, the items that differ
    numbers: Dict[str, Any] = {}
    #: buffer without weights, such as anchors -> its value
    constants: Dict[str, torch.Tensor] = {}


def find_differences(largest: nn.Module, numbers: Dict[str, Dict], child: nn.Module) -> Dict[str, Difference]:
    """
    Name of a module -> how it differs between ``largest``, which may be trained, and ``child``, a new model.
    ``numbers`` is name of a module -> :func:`numbers_of` in the new largest child, as training changes some. ValueError
    if the child has something that the largest one lacks.
    """
    found, theirs = {}, dict(child.named_modules())
    gone: Tuple[str, ...] = ()
    for name, module in largest.named_modules():
        if name.startswith(gone):
            continue
        if name in theirs:
            difference = _difference(name, module, numbers[name], theirs.pop(name))
        else:
            difference = Difference(absent=True)
            gone += (f"{name}.",)
        if any(difference):
            found[name] = difference
    if theirs:
        raise ValueError(f"it has {next(iter(theirs))}, which the largest child does not have")
    return found


def _difference(name, module, numbers, child):
    own, others = ({**m._parameters, **m._buffers} for m in (module, child))
    shapes, constants = {}, {}
    for key, other in others.items():
        mine = own.get(key)
        if other is None and mine is None:
            continue
        if mine is None or other is None or mine.dim() != other.dim() or any(
            a < b for a, b in zip(mine.shape, other.shape)
        ):
            raise ValueError(f"its {name}.{key} is no part of the largest child's")
        if mine.shape != other.shape:
            shapes[key] = tuple(other.shape)
        elif key in module._non_persistent_buffers_set and not torch.equal(mine.cpu(), other):
            constants[key] = other
    changed, theirs = {}, numbers_of(child)
    for key in numbers.keys() & theirs.keys():
        mine, other = numbers[key], theirs[key]
        if mine != other:
            changed[key] = {k: v for k, v in other.items() if v != mine.get(k)} if isinstance(mine, dict) else other
    return Difference(False, shapes, changed, constants)


def numbers_of(module: nn.Module) -> Dict[str, Any]:
    """A module's attributes with plain values."""
    found = {}
    for key, value in vars(module).items():
        if not key.startswith("_") and key != "training":
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                continue
            found[key] = value
    return found


class Partial:
    """Lets a module run as a part of itself."""

    def forward(self, *inputs, **named):
        return inputs[0] if self._absent else super().forward(*inputs, **named)

    def __getattr__(self, name):
        value, shape = super().__getattr__(name), vars(self)["_shapes"].get(name)
        return value if shape is None else first_of(value, shape)

    def __setattr__(self, name, value):
        if name in vars(self)["_shapes"] and name in self._buffers:
            # A norm updates its statistics.
            first_of(self._buffers[name], value.shape).copy_(value)
        else:
            super().__setattr__(name, value)

    def run_whole(self) -> None:
        """Run as in the largest child."""
        vars(self).update(self._before, _before={}, _shapes={}, _absent=False)
        for name, value in self._constants.items():
            self._buffers[name].copy_(value)

    def run_part(self, difference: Difference) -> None:
        """Run with a difference, on top of earlier ones."""
        self._absent |= difference.absent
        shapes = dict(self._shapes)
        for name, shape in difference.shapes.items():
            shapes[name] = tuple(map(min, shape, shapes.get(name, shape)))
        vars(self)["_shapes"] = shapes
        for name, value in difference.numbers.items():
            self._before.setdefault(name, vars(self)[name])
            vars(self)[name] = {**vars(self)[name], **value} if isinstance(value, dict) else value
        for name, value in difference.constants.items():
            self._buffers[name].copy_(value)


@functools.cache
def _partial(kind: Any) -> type:
    return type(kind.__name__, (Partial, kind), {})


def make_partial(module: nn.Module) -> Partial:
    """Enable a module to run as a part of itself; it stays the same object."""
    if not isinstance(module, Partial):
        constants = {name: module._buffers[name].clone() for name in module._non_persistent_buffers_set}
        vars(module).update(_constants=constants, _before={}, _shapes={}, _absent=False)
        module.__class__ = _partial(type(module))  # type: ignore[arg-type]
    return module
