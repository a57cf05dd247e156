"""The plan of a run, kept in its folder: what was decided, and what a step does in the time it has."""

import dataclasses
import json
import os

from detnas.errors import UserError
from detnas.files import read_json, write_text

from . import schedule
from .configs import ConfigWriter
from .recipe import Recipe

PLAN_FILE = "plan.json"
#: test images that are drawn at the end
SHEET_IMAGES = 12
#: paths that are evaluated when a supernet is looked at (five ops, twelve random ones), images each of them sees, and
#: the share of the supernet's time that this may take
_LOOK_PATHS, LOOK_IMAGES, _LOOK_SHARE = 17, 100, 0.2


@dataclasses.dataclass
class Plan:
    """
    What was decided once and holds for a run, however often it is interrupted.

    Args:
        arguments: of the command line.
        facts, machine: see :mod:`find_detector.facts`, as numbers.
        recipe: see :class:`find_detector.recipe.Recipe`.
        parts: {"train", "search", "holdout", "test"}: data sets as in a config; "search" and "holdout" without a
            search, too.
        images: the same names, and how many images they have.
        measured: see :class:`find_detector.schedule.Measured`.
        search, why: whether to search, and the reason.
        plain: (name, arch) of the network that needs no search; None where none meets the limits.
        spent: seconds that the planning took.
        latency: where that of the detector is limited, how it was measured and how well it is predicted.
    """

    arguments: dict
    facts: dict
    machine: dict
    recipe: dict
    parts: dict
    images: dict
    measured: dict
    search: bool
    why: str
    plain: list
    spent: float
    latency: str = ""

    @property
    def times(self):
        return schedule.Measured(**self.measured)

    @property
    def budget(self):
        """Seconds of all."""
        return self.arguments["hours"] * 3600

    @property
    def closing(self):
        """Seconds that report, drawings and exported files take at the end."""
        starts = (4 if self.search else 2.5) + 2 * len(self.arguments["format"])
        return starts * self.measured["start"] + SHEET_IMAGES * self.measured["evaluation"]

    @property
    def steps(self):
        """Names of the trainings and the search, in their order."""
        searched = list(schedule.SHARES) if self.search else []
        return searched + ([schedule.PLAIN] if self.plain and (self.arguments["compare"] or not self.search) else [])

    def writer(self, folder, root):
        return ConfigWriter(folder, root, Recipe(**self.recipe), self.parts, self.arguments["limit"])

    def settings(self, step, seconds, times=None):
        """
        What a step does in the seconds that it has.

        Args:
            times: a :class:`find_detector.schedule.Measured` newer than that of the plan.

        Returns:
            dict for the method of :class:`find_detector.configs.ConfigWriter` of this name, and the seconds expected.
        """
        times, images = times or self.times, self.images
        one = times.candidate(min(self.recipe["recalibration"], images["search"]), images["holdout"])
        if step == "search":
            # Afterwards the winner is recalibrated once more, and pictures are drawn.
            beside = times.start + one
            number, racing = schedule.candidates(seconds, beside, one, images["holdout"])
            each = one * (schedule.RACING_RATIO if racing else 1)
            settings = {"candidates": number, "generation": schedule.GENERATION, "racing": racing}
            return settings, beside + number * each
        if step == "supernet":
            look = 2 * self._look(times)
            evaluate = look <= _LOOK_SHARE * seconds
            beside, each = times.start + look * evaluate, times.supernet_step
            number = schedule.iterations(seconds, beside, each)
            return {"iterations": number, "evaluate": evaluate}, beside + number * each
        # The winner's blocks are mixed, as those of the supernet are on average.
        each = times.supernet_step if step == "winner" else times.plain_step
        beside = times.start + times.evaluation * images["test"]
        number = schedule.iterations(seconds, beside, each)
        settings = {"iterations": number, **({"arch": self.plain[1]} if step == schedule.PLAIN else {})}
        return settings, beside + number * each

    def _look(self, times):
        """Seconds of a look at how the supernet ranks some paths."""
        search = min(self.recipe["recalibration"], self.images["search"])
        return _LOOK_PATHS * times.candidate(search, min(LOOK_IMAGES, self.images["holdout"]))

    def pauses(self, step, settings):
        """[(iteration, seconds)] of the evaluations of a training; none of a search."""
        if step == "search":
            return []
        last = settings["iterations"]
        if step != "supernet":
            return [(last, self.times.evaluation * self.images["test"])]
        return [(-(-last // 2), self._look(self.times)), (last, self._look(self.times))] if settings["evaluate"] else []

    def save(self, folder):
        write_text(os.path.join(folder, PLAN_FILE), json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, folder, arguments):
        """
        The plan in a folder; None if there is none.

        Raises:
            UserError: if it was made for other arguments.
        """
        there = read_json(os.path.join(folder, PLAN_FILE), {})
        if not there:
            return None
        for name, value in there["arguments"].items():
            # Other files can be asked for at any time.
            if name != "format" and arguments[name] != value:
                before, now = _shown(value), _shown(arguments[name])
                raise UserError(f"{folder} holds a run with --{name} {before}, not {now}: give another --output, or "
                                "remove it")
        return cls(**{**there, "arguments": arguments})


def _shown(value):
    if isinstance(value, bool):
        return "on" if value else "off"
    return (" and ".join(value) if isinstance(value, list) else value) or "none"


def forecast(plan, rest=None, left=None, spent=0.0):
    """
    Args:
        rest: seconds until report and drawings; None: those of a run that begins.
        left: the steps that are not done; None: all.
        spent: seconds of the search's steps that are done.

    Returns:
        [(step, its settings, seconds expected)], each in the time it has by now.
    """
    rest = plan.budget - plan.spent - plan.closing if rest is None else rest
    shares = schedule.divide(rest, plan.steps if left is None else left, spent)
    return [(step, *plan.settings(step, seconds)) for step, seconds in shares.items()]


def check_time(plan):
    """
    Raises:
        UserError: if the steps, made as short as they may be, take longer than there is.
    """
    needed = plan.spent + plan.closing + sum(seconds for _, _, seconds in forecast(plan))
    if needed > 1.5 * plan.budget:
        raise UserError(f"--hours {plan.arguments['hours']:g} are too few: the shortest run on this machine takes "
                        f"about {needed / 3600:.2f} hours")
