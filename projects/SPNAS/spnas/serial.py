"""The method "spnas_serial": SP-NAS's first phase (Jiang et al., CVPR 2020), a serial network that grows by morphs."""

import time

from detnas.cost.limits import Limits, check_costs, without_latency
from detnas.errors import UserError

from .code import ParallelCode, SerialCode
from .costs import code_costs
from .reignite import classifier_config, reignite, remove_reignition
from .searcher import MorphSearcher
from .space import SerialSpace, write_serial_space
from .trained import TrainedSearch, check_metric, check_norm


class SerialSearch(TrainedSearch):
    """
    See :class:`spnas.trained.TrainedSearch`.

    Args:
        cfg: the config that trains the start network, ``MODEL.SPNAS.CODE``.
        args: the command line.
    """

    settings = ("STUCK", "SELECT", "REIGNITIONS", "REIGNITION_CONFIG", "EVALUATE_INHERITED")

    def check(self):
        if self.searcher.reignitions:
            classifier_config(self.cfg, self.searcher.start)

    @classmethod
    def check_before_training(cls, cfg):
        # A network with copies is no start of such a search; train_net.py trains it in its config all the same.
        if any(ParallelCode.parse(cfg.MODEL.SPNAS.CODE).counts):
            return
        check_metric(cfg)
        check_norm(cfg)
        cls.read(without_latency(cfg))

    @classmethod
    def read(cls, cfg):
        space, start = serial_space(cfg), start_network(cfg)
        limits = Limits(space, cfg.SEARCH.CONSTRAINTS, code_costs(cfg), start)
        return space, limits, build_searcher(cfg, space, limits)

    @classmethod
    def read_space(cls, cfg):
        return serial_space(cfg)

    def header(self):
        morphs = {name.lower(): weight for name, weight in self.cfg.SEARCH.MORPHS.items()}
        return {**write_serial_space(self.space), **super().header(), "morphs": morphs}

    def before_generation(self, log, generation):
        earlier = [c for c in log.history() if c.generation < generation]
        rounds = self.searcher.reignited(earlier)
        code = rounds.get(generation)
        if code is None:
            return
        number = list(rounds).index(generation) + 1
        if not any(event["generation"] == generation for event in log.events()):
            start = time.perf_counter()
            results = reignite(self.cfg, code, number)
            seconds = round(time.perf_counter() - start, 3)
            event = {"event": "reignition", "generation": generation, "path": self.space.format(code)}
            log.append_event({**event, "metrics": results, "seconds": seconds})
        remove_reignition(self.cfg, number)

    def kept(self, scored):
        return super().kept(scored) if self.searcher.select else scored[-1:]


def start_network(cfg):
    """
    The start network of a serial search.

    Raises:
        UserError: if it has copies of stages, or is none.
    """
    text = cfg.MODEL.SPNAS.CODE
    if "_" in text:
        raise UserError(
            f'MODEL.SPNAS.CODE "{text}" has copies of stages; a serial search begins without, and SEARCH.METHOD '
            '"spnas_parallel" adds them to its winner'
        )
    return SerialCode.parse(text)


def serial_space(cfg):
    """
    The space of a search.

    Raises:
        UserError: if the start network is not in it.
    """
    spnas, search = cfg.MODEL.SPNAS, cfg.SEARCH
    space = SerialSpace(spnas.BLOCK, spnas.BASE_WIDTH, search.MIN_BLOCKS, search.MAX_BLOCKS, search.MAX_STAGES)
    start = start_network(cfg)
    if start not in space:
        raise UserError(
            f'MODEL.SPNAS.CODE "{start}", the start network, has {len(start.stages)} stages and {len(start)} blocks; '
            f"SEARCH.MAX_STAGES is {space.max_stages}, MIN_BLOCKS {space.min_blocks} and MAX_BLOCKS {space.max_blocks}"
        )
    return space


def build_searcher(cfg, space, limits):
    """
    Raises:
        UserError: if an objective is no known cost, or no morph is ever drawn.
    """
    search, start = cfg.SEARCH, start_network(cfg)
    check_costs(search.OBJECTIVES, limits.costs, "SEARCH.OBJECTIVES")
    if not any(search.MORPHS.values()):
        raise UserError("SEARCH.MORPHS are all 0: no child would differ from its parent")
    if search.ASYNCHRONOUS and search.REIGNITIONS:
        raise UserError("SEARCH.ASYNCHRONOUS has no generations to be stuck in: set SEARCH.REIGNITIONS 0")
    return MorphSearcher(
        start,
        lambda code: code in space and limits(code),
        {name.lower(): weight for name, weight in search.MORPHS.items()},
        children=search.CHILDREN,
        costs=tuple(search.OBJECTIVES),
        stuck=search.STUCK,
        reignitions=search.REIGNITIONS,
        select=search.SELECT,
        seed=max(cfg.SEED, 0),
    )
