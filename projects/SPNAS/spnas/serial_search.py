"""The method "spnas_serial": the first phase of SP-NAS (Jiang et al., CVPR 2020) grows a network by morphs."""

import os
import shutil
import time

from detnas.errors import UserError

from .code import SerialCode
from .reignite import classifier_config, reignite
from .searcher import MorphSearcher
from .space import SerialSpace
from .trained_search import TrainedSearch


class SerialSearch(TrainedSearch):
    """See :class:`spnas.trained_search.TrainedSearch`."""

    settings = ("STUCK", "SELECT", "TRIALS", "REIGNITIONS", "REIGNITION_CONFIG", "EVALUATE_INHERITED",
                "RECALIBRATION_IMAGES", "RECALIBRATION_BATCH")

    def __init__(self, cfg, args):
        super().__init__(cfg, args)
        self.tester = None
        if self.searcher.reignitions:
            classifier_config(self.cfg, self.searcher.start)

    @classmethod
    def read_space(cls, cfg):
        spnas, search = cfg.MODEL.SPNAS, cfg.SEARCH
        if "_" in spnas.CODE:
            raise UserError(
                f'MODEL.SPNAS.CODE "{spnas.CODE}" has copies of stages; a serial search begins without, and '
                'SEARCH.METHOD "spnas_parallel" adds them to its winner'
            )
        start = SerialCode.parse(spnas.CODE)
        space = SerialSpace(spnas.BLOCK, spnas.BASE_WIDTH, search.MIN_BLOCKS, search.MAX_BLOCKS, search.MAX_STAGES)
        if start not in space:
            raise UserError(
                f'MODEL.SPNAS.CODE "{start}", the start network, has {len(start.stages)} stages and {len(start)} '
                f"blocks; SEARCH.MAX_STAGES is {space.max_stages}, MIN_BLOCKS {space.min_blocks} and MAX_BLOCKS "
                f"{space.max_blocks}"
            )
        return space, start

    @classmethod
    def build_searcher(cls, cfg, space, limits, **settings):
        search = cfg.SEARCH
        if not any(search.MORPHS.values()):
            raise UserError("SEARCH.MORPHS are all 0: no child would differ from its parent")
        if search.ASYNCHRONOUS and search.REIGNITIONS:
            raise UserError("SEARCH.ASYNCHRONOUS has no generations to be stuck in: set SEARCH.REIGNITIONS 0")
        if search.ASYNCHRONOUS and search.TRIALS > 1:
            raise UserError("SEARCH.ASYNCHRONOUS has no generations to try morphs before: set SEARCH.TRIALS 1")
        return MorphSearcher(
            is_legal=lambda code: code in space and limits(code),
            morphs={name.lower(): weight for name, weight in search.MORPHS.items()},
            costs=tuple(search.OBJECTIVES),
            stuck=search.STUCK,
            reignitions=search.REIGNITIONS,
            select=search.SELECT,
            trials=search.TRIALS,
            **settings,
        )

    def header(self):
        return {**super().header(), "morphs": self.searcher.morphs}

    def before_generation(self, log, generation):
        earlier = [c for c in log.history() if c.generation < generation]
        known = {event["event"]: event for event in log.events if event["generation"] == generation}
        code = self.searcher.reignited(earlier).get(generation)
        if code is not None:
            self._reignite(log, generation, code, "reignition" in known)
        if self.searcher.trials > 1:
            self._try(log, generation, earlier, known.get("trial"))

    def _reignite(self, log, generation, code, is_done):
        folder = os.path.join(self.cfg.OUTPUT_DIR, f"reignition_{generation}")
        if not is_done:
            start = time.perf_counter()
            results = reignite(self.cfg, code, folder)
            seconds = round(time.perf_counter() - start, 3)
            event = {"event": "reignition", "generation": generation, "network": self.space.format(code)}
            log.append_event({**event, "metrics": results, "seconds": seconds})
        shutil.rmtree(folder, ignore_errors=True)

    def _try(self, log, generation, earlier, event):
        """Evaluate a generation's morphs before any training, unless the log's event has their scores."""
        morphs = self.searcher.morphs_to_try(earlier, generation)
        if event is None and earlier and morphs:
            start, (parent,) = time.perf_counter(), next(iter(morphs.values()))
            self.tester = self.tester or self.evaluator()()
            scores = {str(code): self.tester.untrained(code, *parents) for code, parents in morphs.items()}
            event = {"event": "trial", "generation": generation, "network": str(parent), "metrics": scores}
            log.append_event({**event, "seconds": round(time.perf_counter() - start, 3)})
        if event:
            self.searcher.tried[generation] = {code: event["metrics"][str(code)] for code in morphs}

    def kept(self, scored):
        return super().kept(scored) if self.searcher.select == "front" else self.searcher.last(scored)
