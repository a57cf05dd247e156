"""One model that runs as any child of a family, and gives each child's state dict."""

import detnas.compat  # isort: skip  # noqa: F401  first: it mends Detectron2 0.6
import torch
from detectron2.modeling import META_ARCH_REGISTRY

from detnas.config.load import with_settings
from detnas.errors import UserError
from detnas.modeling.builders import build_network
from detnas.modeling.choices import ChoiceModule, first_of

from .config import add_elastic_config  # noqa: F401  importing it from here registers the model
from .partial import find_differences, make_partial, numbers_of
from .space import family_space


@META_ARCH_REGISTRY.register()
def ElasticDetector(cfg):
    """The largest child of ``MODEL.ELASTIC``; it can run as any other child."""
    space = family_space(cfg)
    plain = with_settings(cfg, space.settings(space.largest))
    model = build_network(plain)
    model.__class__ = type(f"Elastic{type(model).__name__}", (Family, type(model)), {})
    model.space, model.cfg = space, plain
    model.numbers = {name: numbers_of(module) for name, module in model.named_modules()}
    model.differences, model.changed, model.left_out = {}, set(), []
    return model


class Family(ChoiceModule):
    """
    Lets the largest child run as any child. When first needed, it builds each child that differs in one value alone,
    and compares it. Other children combine these differences.
    """

    def choices(self):
        return {choice.name: choice for choice in self.space.choices}

    def activate(self, values):
        for module in self.changed:
            module.run_whole()
        found = [self._differences(place, index) for place, index in enumerate(self._child(values))]
        changed = [(self.get_submodule(name), one) for differences in found for name, one in differences.items()]
        for module, difference in changed:
            make_partial(module).run_part(difference)
        self.changed = {module for module, _ in changed}
        self.left_out = [module for module, difference in changed if difference.absent]

    def inactive(self):
        return self.left_out

    def state_of(self, values):
        own, child = self.state_dict(), self._build(self._child(values)).state_dict()
        return {name: first_of(own[name], value.shape) for name, value in child.items()}

    def _child(self, values):
        return tuple(choice.values.index(values[choice.name]) for choice in self.space.choices)

    def _differences(self, place, index):
        """Name of a module -> how it differs. The family must run as the largest child meanwhile."""
        if (place, index) not in self.differences:
            child = list(self.space.largest)
            child[place] = index
            try:
                found = find_differences(self, self.numbers, self._build(child))
            except ValueError as e:
                choice = self.space.choices[place]
                raise UserError(f"MODEL.ELASTIC.CHOICES: {choice.name} {choice.values[index]}: {e}") from None
            self.differences[place, index] = found
        return self.differences[place, index]

    def _build(self, child):
        cfg = with_settings(self.cfg, self.space.settings(child))
        cfg.MODEL.DEVICE = "cpu"
        with torch.random.fork_rng(devices=[]):
            return build_network(cfg)
