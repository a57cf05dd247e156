"""The plan of a run, kept in its folder: the decisions, and the seconds of each step."""

import datetime
import json
import math
import os
from dataclasses import asdict, dataclass, field, fields

from detnas.errors import UserError
from detnas.files import NUMBER, read_json, write_text

from .detectors import FEWEST, MOST
from .race import race_share
from .recipe import Recipe, side_by_side
from .starts import Start

PLAN_FILE = "plan.json"
RACE, TRAIN, SEARCH, DETECTORS = "race", "train", "search", "detectors"
#: step -> its name in messages
NAMES = {RACE: "race of starts", TRAIN: "training", SEARCH: "choice on held-out images",
         DETECTORS: "test of detectors"}
#: the two trainings; the family's share of the time if they run one after the other
FAMILY, PLAIN, FAMILY_SHARE = "family", "plain", 0.7
#: Seconds for a detector (export, timing, resampling of AP) and for a child of a search (building, timing), as (a, b,
#: c): min(c, a + b * seconds of an image in torch).
EACH, CHILD = (5.5, 150.0, 12.5), (1.9, 14.0, 3.4)
#: Seconds for an evaluated image and for one of a recalibration, in seconds of an image with the largest detector.
_EVALUATED, _RECALIBRATED = 0.5, 1.2
#: share of the time that training gets, unless the fewest children and detectors take more than the others
_TRAINING = 0.75
#: A search or a test starts as long as so many starts of the command, for it imports more.
_STARTS = 2
#: most children of a family that a search evaluates
MOST_CHILDREN = 60
#: Fewer test images show only differences of several AP.
MANY_IMAGES = 100


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
    """Names of data sets as in a config; "search" is for training, "holdout" for comparisons."""

    train: str
    test: str
    search: str = ""
    holdout: str = ""


@dataclass
class Counts:
    """Numbers of images of the :class:`Sets`."""

    train: int
    test: int
    search: int
    holdout: int


@dataclass
class Plan:
    """The decisions for a run; they hold however often it is interrupted."""

    request: Request
    sets: Sets
    images: Counts
    start: float  # seconds from the start of a command to its first step
    recipes: dict = field(default_factory=dict)  # space or kind -> Recipe
    starts: list = field(default_factory=list)  # where the training can begin, the likeliest first
    no_weights: str = ""  # why no start is pre-trained
    decisions: list = field(default_factory=list)  # lines that the command prints
    details: list = field(default_factory=list)  # more lines, for --explain
    spent: float = 0.0  # seconds that the planning took
    image: float = 0.0  # seconds of an image in torch with the largest detector
    best: str = ""  # name of the start that won the race; until then the first start counts
    data: dict = field(default_factory=dict)  # fingerprints of train and test

    @property
    def budget(self) -> float:
        """Seconds of the whole run."""
        return self.request.hours * 3600

    @property
    def steps(self) -> list:
        return [*([RACE] if len(self.starts) > 1 else []), TRAIN, SEARCH, DETECTORS]

    @property
    def start_taken(self) -> Start:
        return next((start for start in self.starts if start.name == self.best), self.starts[0])

    @property
    def recipe(self) -> Recipe:
        return self.recipes[self.start_taken.space]

    def elastic(self, kind: str) -> dict:
        """``MODEL.ELASTIC`` of the family, or of the plain detector at several sizes."""
        sweep = self.recipe.sweep
        return {**sweep, "CHOICES": sweep["CHOICES"] + self.start_taken.parts} if kind == FAMILY else sweep

    def children(self, kind: str = FAMILY) -> int:
        """How many children a search evaluates."""
        elastic = self.elastic(kind)
        return min(MOST_CHILDREN, math.prod(len(values) for values in (
            elastic["SIZES"], *(choice[1:] for choice in elastic["CHOICES"]))))

    def seconds(self, step: str, share: float = 1.0) -> float:
        """Seconds of SEARCH or DETECTORS for a share of children, at least one of each size, or of detectors."""
        always, each, count, least = self._cost(step)
        return always + max(share * count, least) * each

    def affordable(self, step: str, seconds: float) -> int:
        """How many children or detectors SEARCH or DETECTORS takes in so many seconds, at least the fewest."""
        always, each, count, least = self._cost(step)
        return max(least, min(int(count), int((seconds - always) / each + 1e-6)))

    def searching(self, seconds: float, children: int) -> float:
        """Seconds until the last of so many candidates begins, in a search of so many seconds."""
        # If all children are candidates, the search times them before.
        before = children * self._alone(CHILD) if not self.start_taken.parts and children == self.children() else 0.0
        return max(1.0, seconds - _STARTS * self.start - before)

    def _alone(self, cost):
        """Seconds of a detector or child without its images."""
        some, times, most = cost
        return min(most, some + times * self.image)

    def _cost(self, step):
        """Of SEARCH or DETECTORS: (seconds before the first one, for each child or detector, how many, fewest)"""
        start = _STARTS * self.start
        if step == DETECTORS:
            return start, self._alone(EACH) + _EVALUATED * self.image * self.images.test, 1.5 * MOST, FEWEST
        sizes = len(self.recipe.sweep["SIZES"])
        statistics = _RECALIBRATED * self.image * min(self.recipe.recalibration, self.images.search)
        each = self._alone(CHILD) + _EVALUATED * self.image * self.images.holdout
        if self.start_taken.parts:
            return start, each + statistics, self.children(), sizes
        # Children of one size share their batch-norm statistics.
        return start + sizes * statistics, each, self.children(), sizes

    def divide(self, spent: float, left: list) -> dict:
        """Step -> seconds for the steps in ``left``, after ``spent`` seconds of the run."""
        rest = self.budget - spent
        steps = [step for step in (SEARCH, DETECTORS) if step in left]
        always, each = (sum(self.seconds(step, share) for step in steps) for share in (0.0, 1.0))
        given = (1 - _TRAINING if TRAIN in left else 1.0) * rest
        share = min(1.0, max(0.0, (given - always) / max(1.0, each - always)))
        after = {step: self.seconds(step, share) for step in steps}
        # However slow the rest is, training gets half of the time.
        training = max(rest - sum(after.values()), rest / 2 if TRAIN in left else 0.0)
        race = training * race_share(len(self.starts), side_by_side(len(self.starts)))[0] if RACE in left else 0.0
        before = ({RACE: race} if RACE in left else {}) | ({TRAIN: training - race} if TRAIN in left else {})
        return before | after

    def save(self, folder: str) -> None:
        write_text(os.path.join(folder, PLAN_FILE), json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: str, request: Request):
        """The plan in a folder, or None; UserError if it is damaged or made for another request."""
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
    """The form of a dataclass in JSON, without other keys."""
    return {**{each.name: NUMBER if each.type is float else each.type for each in fields(kind)}, "": ()}


FORM = {**_form(Plan), "request": {**_form(Request), "limit": [str]}, "sets": _form(Sets), "images": _form(Counts),
        "starts": [{**_form(Start), "parts": [list]}], "decisions": [str], "details": [str], "data": {"": str},
        "recipes": {"": {**_form(Recipe), "sweep": {"SIZES": [NUMBER], "CHOICES": [list]}}}}


def claim(folder: str) -> None:
    """Make a folder for one run; UserError if it cannot be written, or holds files but no plan."""
    try:
        os.makedirs(folder, exist_ok=True)
        there = sorted(os.listdir(folder))
        if not there:
            write_text(os.path.join(folder, PLAN_FILE), "{}")
    except OSError as e:
        raise UserError(f"--output {folder} cannot be written: {e.strerror}") from None
    if there and not {PLAN_FILE, f"{PLAN_FILE}.partial"} & set(there):
        more = f" and {len(there) - 3} more" * (len(there) > 3)
        raise UserError(f"--output {folder} holds other files, which stay as they are: {', '.join(there[:3])}{more}. "
                        "Give an empty folder, or one of a run")


def clock_time(seconds_from_now: float) -> str:
    """The time in so many seconds, such as 17:40, or Fri 02:15 on another day."""
    now = datetime.datetime.now()
    then = now + datetime.timedelta(seconds=seconds_from_now)
    return then.strftime("%H:%M" if then.date() == now.date() else "%a %H:%M")


def duration(seconds: float) -> str:
    """Seconds as text, such as 40 s, 12 min or 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
