"""The method "spnas_parallel": SP-NAS's second phase (Jiang et al., CVPR 2020), copies beside a network's stages."""

import os

from detectron2.utils.file_io import PathManager

from detnas.config.load import load_config
from detnas.cost.limits import Limits, check_costs, without_latency
from detnas.errors import UserError
from detnas.launch.earlier_steps import BEST_CONFIG, BEST_WEIGHTS

from .code import ParallelCode
from .costs import code_costs
from .count_searcher import CountSearcher
from .fit import with_code
from .space import ParallelSpace, write_parallel_space
from .trained import TrainedSearch, check_metric, check_norm


class ParallelSearch(TrainedSearch):
    """
    See :class:`spnas.trained.TrainedSearch`. Each candidate starts from the serial network's weights, and exactly as
    good as it.

    Args:
        cfg: a config with ``SEARCH.SERIAL_OUTPUT``, the output folder of a serial search, whose winner gets copies; or,
            where that is empty, with a serial network in ``MODEL.SPNAS.CODE`` and its weights in ``MODEL.WEIGHTS``.
        args: the command line.
    """

    settings = ("SERIAL_OUTPUT",)

    def __init__(self, cfg, args):
        super().__init__(with_serial_winner(cfg), args)

    @classmethod
    def check_before_training(cls, cfg):
        check_metric(cfg)
        check_norm(cfg)
        # The training may be of any network, and the serial search be yet to come.
        if not cfg.SEARCH.SERIAL_OUTPUT:
            cls.read(without_latency(cfg))

    @classmethod
    def read(cls, cfg):
        space = parallel_space(cfg)
        start = ParallelCode(space.serial)
        search = cfg.SEARCH
        limits = Limits(space, search.CONSTRAINTS, code_costs(cfg), start)
        check_costs(search.OBJECTIVES, limits.costs, "SEARCH.OBJECTIVES")
        return space, limits, CountSearcher(
            start, limits, added_cost(limits.costs, start), children=search.CHILDREN, seed=max(cfg.SEED, 0)
        )

    @classmethod
    def read_space(cls, cfg):
        return parallel_space(cfg)

    @classmethod
    def evaluate(cls, cfg, args):
        return super().evaluate(with_serial_winner(cfg), args)

    def header(self):
        return {**write_parallel_space(self.space), **super().header(), "tied": self.cfg.MODEL.SPNAS.TIED}

    def config_as_written(self):
        return with_serial_winner(super().config_as_written())


def with_serial_winner(cfg):
    """
    A copy of a config with the winner of ``SEARCH.SERIAL_OUTPUT``: its network, and its weights to start from.

    Raises:
        UserError: if the serial search has not left them yet.
    """
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
    cfg = with_code(cfg, winner.CODE)
    for key in ("BLOCK", "BASE_WIDTH", "STEM", "SHORTCUT"):
        cfg.MODEL.SPNAS[key] = winner[key]
    cfg.MODEL.WEIGHTS = weights
    return cfg


def parallel_space(cfg):
    """
    The space of a search.

    Raises:
        UserError: if the network that is to get copies has some.
    """
    spnas = cfg.MODEL.SPNAS
    code = ParallelCode.parse(spnas.CODE)
    if any(code.counts):
        raise UserError(
            f'MODEL.SPNAS.CODE "{code}" has copies of stages already; a parallel search adds them to a serial network'
        )
    return ParallelSpace(code.serial, spnas.BLOCK, spnas.BASE_WIDTH)


def added_cost(costs, start):
    """
    Function code -> multiply-adds of its copies in relation to those of the serial network. Each copy of a stage costs
    as much as the others, so one of each is counted.
    """
    serial, counts = costs.cost("backbone_flops", start), range(len(start.counts))
    single = [ParallelCode(start.serial, tuple(int(stage == other) for other in counts)) for stage in counts]
    shares = [costs.cost("backbone_flops", code) / serial - 1 for code in single]
    return lambda code: sum(count * share for count, share in zip(code.counts, shares))
