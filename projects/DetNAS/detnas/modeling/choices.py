"""
Modules that hold several candidates at once, and how one of them is chosen in a whole model. Such a module says which
places of a candidate it heeds, and what it makes of their values; places may stand anywhere in a model.
"""

from typing import Any, Dict, Iterable, List, Mapping, Tuple

import torch
from torch import nn

from detnas.choices import Candidate, Choice, ChoiceSpace


class ChoiceModule:
    """What an ``nn.Module`` with choices adds."""

    def choices(self) -> Dict[str, Choice]:
        """The places that it heeds, by their names; places of one name in several modules are one place."""
        raise NotImplementedError

    def activate(self, values: Mapping[str, Any]) -> None:
        """Run what the values of a candidate say from now on: name of a place -> value, also of places elsewhere."""
        raise NotImplementedError

    def inactive(self) -> List[nn.Module]:
        """The modules inside that do not run now."""
        raise NotImplementedError

    def state_of(self, values: Mapping[str, Any]) -> Dict[str, torch.Tensor]:
        """The state dict of the candidate's own module, which holds nothing else."""
        raise NotImplementedError


class ChoiceBlock(nn.ModuleList, ChoiceModule):
    """All values of one place, a module for each in their order; the one with the index ``choice`` runs."""

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
    """The modules with choices by their names in a model, whatever wraps them (DDP, FPN, detector), in its order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, ChoiceModule)}


def is_supernet(model: nn.Module) -> bool:
    """Whether a model holds several candidates at once."""
    return any(isinstance(module, ChoiceModule) for module in model.modules())


def activate(model: nn.Module, space: ChoiceSpace, candidate: Candidate) -> None:
    """Let a model run as a candidate from now on; UserError if the candidate does not fit the space."""
    values = space.values(candidate)
    for module in choice_modules(model).values():
        module.activate(values)


def inactive_modules(model: nn.Module) -> List[nn.Module]:
    """The modules that the active candidate leaves out, each with all that is inside it."""
    return [left_out for module in choice_modules(model).values() for left_out in module.inactive()]


def state_of(model: nn.Module, space: ChoiceSpace, candidate: Candidate) -> Dict[str, torch.Tensor]:
    """
    The state dict of a candidate alone, under the names of the model that its settings describe. Tensors are shared.

    Args:
        model: that holds the candidate; whichever is active makes no difference.
    """
    values, state = space.values(candidate), model.state_dict()
    done = []
    for name, module in choice_modules(model).items():
        prefix = f"{name}." if name else ""
        # The outermost one answers for those inside it.
        if not any(prefix.startswith(outer) for outer in done):
            state = {key: value for key, value in state.items() if not key.startswith(prefix)}
            state.update({prefix + key: value for key, value in module.state_of(values).items()})
            done.append(prefix)
    return state


def first_of(tensor: torch.Tensor, shape: Tuple[int, ...]) -> torch.Tensor:
    """A part of a tensor, by its shape: the first of both channel dimensions, the middle of the others, a kernel."""
    for dim, (size, wanted) in enumerate(zip(tensor.shape, shape)):
        if wanted < size:
            tensor = tensor.narrow(dim, (size - wanted) // 2 if dim >= 2 else 0, wanted)
    return tensor
