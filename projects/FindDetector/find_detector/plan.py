"""The plan of a run, kept in its folder: what was decided, and what each step does in the time that it gets."""

import datetime
import json
import os
from dataclasses import asdict, dataclass, field

from detnas.errors import UserError
from detnas.files import read_json, write_text

from .race import race_share
from .recipe import Recipe
from .starts import Start

PLAN_FILE = "plan.json"
RACE, TRAIN, SEARCH, DETECTORS, DRAW = "race", "train", "search", "detectors", "draw"
#: step -> what it is called
NAMES = {
    RACE: "race of starts", TRAIN: "training of the family and of a plain detector",
    SEARCH: "choice on images held out", DETECTORS: "detectors on the test images", DRAW: "drawings",
}
#: the two trainings; the share of the family where they run one after the other
FAMILY, PLAIN, FAMILY_SHARE = "family", "plain", 0.7
#: fewest and most detectors of the family that are exported, for each half a plain one, and seconds for each detector:
#: written, timed, its figures resampled
FEWEST, MOST, EACH = 3, 6, 9.0
#: test images that are drawn at the end; fewer of them than the second tell a difference of some AP alone
SHEET_IMAGES, MANY_IMAGES = 12, 100
#: seconds of an image until they are measured, what smaller ones take of it, and those to build and time a child
_IMAGE, _SMALLER, _CHILD = 0.1, 0.4, 2.0


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
    shown: list = field(default_factory=list)  # files of the test images that are drawn
    data: dict = field(default_factory=dict)  # what train and test were made of

    @property
    def budget(self) -> float:
        """Seconds of all."""
        return self.request.hours * 3600

    @property
    def steps(self) -> list:
        """All steps, in their order."""
        return [*([RACE] if len(self.starts) > 1 else []), TRAIN, SEARCH, DETECTORS, DRAW]

    def seconds(self, step: str, image: float = _IMAGE) -> float:
        """
        Seconds of a step after the training.

        Args:
            image: seconds that the largest detector takes for an image in torch.
        """
        recipe = self.recipes[self.starts[0].space]
        if step == SEARCH:
            return self.start + recipe.children * self._child(image)
        if step == DETECTORS:
            return self.start + 1.5 * MOST * (EACH + _SMALLER * image * self.images.test)
        return self.start + SHEET_IMAGES * image

    def candidates(self, seconds: float, image: float = _IMAGE) -> int:
        """How many children can be evaluated in so many seconds."""
        most = max(recipe.children for recipe in self.recipes.values())
        return max(FEWEST, min(most, int((seconds - self.start) / self._child(image))))

    def _child(self, image):
        """Seconds of a child in the search."""
        recipe = self.recipes[self.starts[0].space]
        return _CHILD + _SMALLER * image * (self.images.holdout + min(recipe.recalibration, self.images.search))

    def detectors(self, seconds: float) -> int:
        """How many detectors of the family can be exported and tested in so many seconds."""
        return max(FEWEST, min(MOST, int((seconds - self.start) / EACH / 1.5)))

    def divide(self, spent: float, left: list, image: float = _IMAGE) -> dict:
        """
        Seconds of each of the steps that are left.

        Args:
            spent: seconds until now.
            image: see :meth:`seconds`.
        """
        rest = self.budget - spent
        after = {step: self.seconds(step, image) for step in (SEARCH, DETECTORS, DRAW) if step in left}
        # However slow all else is, half of the time is for training.
        training = max(rest - sum(after.values()), rest / 2 if TRAIN in left else 0.0, 0.0)
        race = training * race_share(len(self.starts))[0] if RACE in left else 0.0
        before = ({RACE: race} if RACE in left else {}) | ({TRAIN: training - race} if TRAIN in left else {})
        return before | after

    def save(self, folder: str) -> None:
        write_text(os.path.join(folder, PLAN_FILE), json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: str, request: Request):
        """The plan in a folder; None if there is none."""
        there = read_json(os.path.join(folder, PLAN_FILE), {})
        if not there:
            return None
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
