"""Blocks that hold several candidates at once, anywhere in a model, and how one of them is chosen in all of it."""

from typing import Any, Dict, Iterable, List, Mapping

import torch
from torch import nn

from detnas.choices import Candidate, Choice, ChoiceSpace


class ChoiceBlock(nn.ModuleList):
    """All values of one place, a module for each in their order; the one with the index ``choice`` runs."""

    choice = 0

    def __init__(self, place: Choice, modules: Iterable[nn.Module]):
        super().__init__(modules)
        self.place = place

    def forward(self, x):
        return self[self.choice](x)

    def activate(self, values: Mapping[str, Any]) -> None:
        """Run what the values of a candidate say from now on: name of a place -> value, also of places elsewhere."""
        self.choice = self._index(values)

    def inactive(self) -> List[nn.Module]:
        """The modules inside that do not run now."""
        return [module for index, module in enumerate(self) if index != self.choice]

    def state_of(self, values: Mapping[str, Any]) -> Dict[str, torch.Tensor]:
        """The state dict of the candidate's own module, which holds nothing else."""
        return self[self._index(values)].state_dict()

    def _index(self, values):
        return self.place.values.index(values[self.place.name])


def choice_modules(model: nn.Module) -> Dict[str, ChoiceBlock]:
    """The choice blocks by their names in a model, whatever wraps them (DDP, FPN, detector), in its order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, ChoiceBlock)}


def is_supernet(model: nn.Module) -> bool:
    """Whether a model holds several candidates at once."""
    return bool(choice_modules(model))


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
    for name, module in choice_modules(model).items():
        prefix = f"{name}." if name else ""
        state = {key: value for key, value in state.items() if not key.startswith(prefix)}
        state.update({prefix + key: value for key, value in module.state_of(values).items()})
    return state
