"""Modules that hold several candidates at once, and functions that choose one of them in a whole model."""

from typing import Any, Dict, Iterable, List, Mapping, Tuple

import torch
from torch import nn

from detnas.choices import Candidate, Choice, ChoiceSpace


class ChoiceModule:
    """Interface of an ``nn.Module`` that holds several candidates."""

    def choices(self) -> Dict[str, Choice]:
        """Places that this module uses, by name. Several modules may use one place."""
        raise NotImplementedError

    def activate(self, values: Mapping[str, Any]) -> None:
        """Run with these values from now on: name of a place -> value. They include places of other modules."""
        raise NotImplementedError

    def inactive(self) -> List[nn.Module]:
        """Inner modules that do not run now."""
        raise NotImplementedError

    def state_of(self, values: Mapping[str, Any]) -> Dict[str, torch.Tensor]:
        """State dict of the module that holds this candidate alone."""
        raise NotImplementedError


class ChoiceBlock(nn.ModuleList, ChoiceModule):
    """A module for each value of one place, in order. The module with index ``choice`` runs."""

    choice = 0

    def __init__(self, place: Choice, modules: Iterable[nn.Module]):
        super().__init__(modules)
        self.place = place

    def forward(self, x):
        return self[self.choice](x)

    def choices(self):
        return {self.place.name: self.place}

    def activate(self, values):
        self.choice = self._index(values)

    def inactive(self):
        return [module for index, module in enumerate(self) if index != self.choice]

    def state_of(self, values):
        return self[self._index(values)].state_dict()

    def _index(self, values):
        return self.place.values.index(values[self.place.name])


def choice_modules(model: nn.Module) -> Dict[str, ChoiceModule]:
    """Modules with choices by name, in the model's order. Wrappers (DDP, FPN, detector) make no difference."""
    return {name: module for name, module in model.named_modules() if isinstance(module, ChoiceModule)}


def is_supernet(model: nn.Module) -> bool:
    """Whether a model holds several candidates at once."""
    return any(isinstance(module, ChoiceModule) for module in model.modules())


def activate(model: nn.Module, space: ChoiceSpace, candidate: Candidate) -> None:
    """Run a model as a candidate from now on. Raises UserError if the candidate does not fit the space."""
    values = space.values(candidate)
    for module in choice_modules(model).values():
        module.activate(values)


def inactive_modules(model: nn.Module) -> List[nn.Module]:
    """Modules that the active candidate does not run. Their inner modules do not run either."""
    return [left_out for module in choice_modules(model).values() for left_out in module.inactive()]


def state_of(model: nn.Module, space: ChoiceSpace, candidate: Candidate) -> Dict[str, torch.Tensor]:
    """State dict of a candidate, active or not, under the names of its single network. Tensors are shared."""
    values, state = space.values(candidate), model.state_dict()
    done = []
    for name, module in choice_modules(model).items():
        prefix = f"{name}." if name else ""
        if not any(prefix.startswith(outer) for outer in done):  # the outermost module covers those inside it
            state = {key: value for key, value in state.items() if not key.startswith(prefix)}
            state.update({prefix + key: value for key, value in module.state_of(values).items()})
            done.append(prefix)
    return state


def first_of(tensor: torch.Tensor, shape: Tuple[int, ...]) -> torch.Tensor:
    """Cut a tensor to a shape: the first channels in dimensions 0 and 1, the middle of a kernel in the others."""
    for dim, (size, wanted) in enumerate(zip(tensor.shape, shape)):
        if wanted < size:
            tensor = tensor.narrow(dim, (size - wanted) // 2 if dim >= 2 else 0, wanted)
    return tensor
