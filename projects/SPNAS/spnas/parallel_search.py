"""The method "spnas_parallel": the second phase of SP-NAS (Jiang et al., CVPR 2020) copies stages of a network."""

import os

from detectron2.utils.file_io import PathManager

from detnas.config.load import load_config, with_settings
from detnas.errors import UserError
from detnas.launch.outputs import BEST_CONFIG, BEST_WEIGHTS

from .code import ParallelCode
from .searcher import CountSearcher
from .space import ParallelSpace
from .trained_search import TrainedSearch, check_settings


class ParallelSearch(TrainedSearch):
    """
    See :class:`spnas.trained_search.TrainedSearch`. A candidate starts with weights and function of a serial network.
    """

    settings = ("SERIAL_OUTPUT",)

    @classmethod
    def check_before_training(cls, cfg):
        if cfg.SEARCH.SERIAL_OUTPUT:
            # The serial search may not have run yet.
            check_settings(cfg)
        else:
            super().check_before_training(cfg)

    @staticmethod
    def complete(cfg):
        """Take network and weights from the winner in ``SEARCH.SERIAL_OUTPUT``, if set; UserError without its files."""
        folder = cfg.SEARCH.SERIAL_OUTPUT
        if not folder:
            return cfg
        config, weights = (os.path.join(folder, name) for name in (BEST_CONFIG, BEST_WEIGHTS))
        for file in (config, weights):
            if not PathManager.isfile(file):
                raise UserError(
                    f"SEARCH.SERIAL_OUTPUT: {file} does not exist; the serial search writes it at its end, so start "
                    "search_net.py with that search's config first"
                )
        winner = load_config(config).MODEL.SPNAS
        keys = "CODE", "BLOCK", "BASE_WIDTH", "STEM", "SHORTCUT"
        return with_settings(cfg, {"MODEL.WEIGHTS": weights, **{f"MODEL.SPNAS.{key}": winner[key] for key in keys}})

    @classmethod
    def read_space(cls, cfg):
        spnas = cfg.MODEL.SPNAS
        start = ParallelCode.parse(spnas.CODE)
        if any(start.counts):
            raise UserError(
                f'MODEL.SPNAS.CODE "{start}" has copies of stages already; a parallel search adds them to a serial '
                "network"
            )
        return ParallelSpace(str(start), spnas.BLOCK, spnas.BASE_WIDTH), start

    @classmethod
    def build_searcher(cls, cfg, space, limits, start, **settings):
        added = added_cost(limits.costs, start)
        return CountSearcher(start=start, is_legal=limits, added=added, **settings)

    def header(self):
        return {**super().header(), "tied": self.cfg.MODEL.SPNAS.TIED}


def added_cost(costs, start):
    """Function code -> multiply-adds of its copies / of the serial network. Copies of one stage cost the same."""
    serial, counts = costs.cost("backbone_flops", start), range(len(start.counts))
    single = [ParallelCode(start.serial, tuple(int(stage == other) for other in counts)) for stage in counts]
    shares = [costs.cost("backbone_flops", code) / serial - 1 for code in single]
    return lambda code: sum(count * share for count, share in zip(code.counts, shares))
