"""The plan of a run, kept in its folder: what was decided, and what each step does in the time that it gets."""

import datetime
import json
import math
import os
from dataclasses import asdict, dataclass, field, fields

from detnas.errors import UserError
from detnas.files import NUMBER, read_json, write_text

from .detectors import MOST
from .race import race_share
from .recipe import Recipe, side_by_side
from .starts import Start

PLAN_FILE = "plan.json"
RACE, TRAIN, SEARCH, DETECTORS = "race", "train", "search", "detectors"
#: step -> what it is called
NAMES = {
    RACE: "race of starts", TRAIN: "training", SEARCH: "choice on held-out images", DETECTORS: "test of detectors",
}
#: the two trainings; the share of the family where they run one after the other
FAMILY, PLAIN, FAMILY_SHARE = "family", "plain", 0.7
#: Seconds for a detector, written, timed and its figures resampled, and for a child of a search, built and timed: some,
#: and so many times those of an image in torch, at most as many as for Lite0 of 200 pixels.
EACH, CHILD = (1.8, 100.0, 9.0), (0.5, 20.0, 2.0)
#: children of a family that a search evaluates at most
MOST_CHILDREN = 60
#: fewer test images tell a difference of some AP alone
MANY_IMAGES = 100
#: what smaller images take of the largest ones
_SMALLER = 0.4


@dataclass(frozen=True)
class Request:
    """What the command line asks for, by the names of its options."""

    data: str
    test: str | None
    hours: float
    limit: list
    backbone: str = ""
    weights: str = ""
    from_scratch: bool = False
    device: str = ""
    threads: int = 0
    seed: int = 0


@dataclass
class Sets:
    """Data sets as in a config; "search" and "holdout" are parts of "train"."""

    train: str
    test: str
    search: str = ""
    holdout: str = ""


@dataclass
class Counts:
    """How many images they have."""

    train: int
    test: int
    search: int
    holdout: int


@dataclass
class Plan:
    """What was decided once and holds for a run, however often it is interrupted."""

    request: Request
    sets: Sets
    images: Counts
    start: float  # seconds of the clock from the start of a command to its first step
    recipes: dict = field(default_factory=dict)  # space or kind -> Recipe
    starts: list = field(default_factory=list)  # where the training can begin, the likeliest first
    no_weights: str = ""  # why none of them is pre-trained
    decisions: list = field(default_factory=list)  # a sentence for each
    details: list = field(default_factory=list)  # more of them, for --explain
    spent: float = 0.0  # seconds that the planning took
    image: float = 0.0  # seconds that the largest detector takes for an image in torch; 0 until it is measured
    best: str = ""  # name of the start that has won; before that the first one counts
    data: dict = field(default_factory=dict)  # what train and test were made of

    @property
    def budget(self) -> float:
        """Seconds of all."""
        return self.request.hours * 3600

    @property
    def steps(self) -> list:
        """All steps, in their order."""
        return [*([RACE] if len(self.starts) > 1 else []), TRAIN, SEARCH, DETECTORS]

    @property
    def start_taken(self) -> Start:
        """The best one."""
        return next((start for start in self.starts if start.name == self.best), self.starts[0])

    @property
    def recipe(self) -> Recipe:
        """That of the best start."""
        return self.recipes[self.start_taken.space]

    def elastic(self, kind: str) -> dict:
        """``MODEL.ELASTIC`` of the family, or of the sweep of the plain detector."""
        sweep = self.recipe.sweep
        return {**sweep, "CHOICES": sweep["CHOICES"] + self.start_taken.parts} if kind == FAMILY else sweep

    def children(self, kind: str = FAMILY) -> int:
        """How many of them a search evaluates."""
        elastic = self.elastic(kind)
        return min(MOST_CHILDREN, math.prod(len(values) for values in (
            elastic["SIZES"], *(choice[1:] for choice in elastic["CHOICES"]))))

    def seconds(self, step: str) -> float:
        """Seconds of a step after the training."""
        if step == SEARCH:
            return self.start + self.children() * self._child
        return self.start + 1.5 * MOST * self._with_images(EACH, self.images.test)

    def candidates(self, kind: str, seconds: float) -> int:
        """How many children can be evaluated in so many seconds."""
        return max(3, min(self.children(kind), int((seconds - self.start) / self._child)))

    @property
    def _child(self):
        """Seconds of a child in the search."""
        seen = self.images.holdout + min(self.recipe.recalibration, self.images.search)
        return self._with_images(CHILD, seen)

    def _with_images(self, cost, images):
        """Seconds of something that depends on the network, and of so many images."""
        (some, times, most), image = cost, self.image or self.recipe.image
        return min(most, some + times * image) + _SMALLER * image * images

    def divide(self, spent: float, left: list) -> dict:
        """Seconds of each of the steps that are left, after so many."""
        rest = self.budget - spent
        after = {step: self.seconds(step) for step in (SEARCH, DETECTORS) if step in left}
        # However slow all else is, half of the time is for training.
        training = max(rest - sum(after.values()), rest / 2 if TRAIN in left else 0.0, 0.0)
        race = training * race_share(len(self.starts), side_by_side(len(self.starts)))[0] if RACE in left else 0.0
        before = ({RACE: race} if RACE in left else {}) | ({TRAIN: training - race} if TRAIN in left else {})
        return before | after

    def save(self, folder: str) -> None:
        write_text(os.path.join(folder, PLAN_FILE), json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: str, request: Request):
        """The plan in a folder; None if there is none."""
        file = os.path.join(folder, PLAN_FILE)
        there = read_json(file, {}, FORM)
        if not there:
            return None
        spaces = {start["space"] for start in there["starts"]}
        if not spaces or spaces - there["recipes"].keys():
            raise UserError(f"{file} is damaged, its starts and recipes do not fit: give another --output")
        for name, value in there["request"].items():
            now = getattr(request, name)
            if now != value:
                before, now = ((" and ".join(v) if isinstance(v, list) else v) or "none" for v in (value, now))
                raise UserError(f"{folder} holds a run with {name} {before}, not {now}: give another --output, or "
                                "remove it")
        parts: dict = {"sets": Sets(**there["sets"]), "images": Counts(**there["images"])}
        parts["recipes"] = {space: Recipe(**recipe) for space, recipe in there["recipes"].items()}
        parts["starts"] = [Start(**start) for start in there["starts"]]
        return cls(**{**there, **parts, "request": request})


def _form(kind):
    """The form of a dataclass in JSON, and no other keys."""
    return {**{each.name: NUMBER if each.type is float else each.type for each in fields(kind)}, "": ()}


FORM = {
    **_form(Plan), "request": _form(Request), "sets": _form(Sets), "images": _form(Counts),
    "starts": [{**_form(Start), "parts": [list]}],
    "recipes": {"": {**_form(Recipe), "sweep": {"SIZES": [NUMBER], "CHOICES": [list]}}}, "decisions": [str],
    "details": [str], "data": {"": str},
}


def claim(folder: str) -> None:
    """
    Make a folder that is a run's alone.

    Raises:
        UserError: if it cannot be made, or holds what no run has written.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        there = sorted(os.listdir(folder))
        if not there:
            write_text(os.path.join(folder, PLAN_FILE), "{}")
    except OSError as e:
        raise UserError(f"--output {folder} cannot be written: {e.strerror}") from None
    if there and not any(name.startswith(PLAN_FILE) for name in there):
        more = f" and {len(there) - 3} more" * (len(there) > 3)
        raise UserError(f"--output {folder} holds other files, which stay as they are: {', '.join(there[:3])}{more}. "
                        "Give an empty folder, or one of a run")


def clock_time(seconds_from_now: float) -> str:
    """Such as 17:40, or Fri 02:15 if that is not today."""
    now = datetime.datetime.now()
    then = now + datetime.timedelta(seconds=seconds_from_now)
    return then.strftime("%H:%M" if then.date() == now.date() else "%a %H:%M")


def duration(seconds: float) -> str:
    """Such as 40 s, 12 min or 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
