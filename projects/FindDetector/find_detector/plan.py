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
#: Shares of the time of the search's steps. The winner gets most: a search pays where its winner is trained about as
#: long as the plain network would be (docs/results.md).
SHARES = {"supernet": 0.35, "search": 0.15, "winner": 0.5}
RACE, PLAIN = "race", "plain"
#: step -> what it is called
NAMES = {"supernet": "supernet", "search": "search", "winner": "winner", RACE: "race of starts", PLAIN: "plain network"}
#: fewest and most candidates of a search, and how many make a generation
LEAST_CANDIDATES, MOST_CANDIDATES, GENERATION = 16, 240, 16
#: held-out images and candidates from which on candidates race, and the share of the time that is left then
RACING_IMAGES, RACING_CANDIDATES, RACING_RATIO = 1000, 128, 0.36
#: test images that are drawn at the end
SHEET_IMAGES = 12


@dataclass(frozen=True)
class Request:
    """What the command line asks for, by the names of its options."""

    train: str
    test: str | None
    hours: float
    limit: list
    format: list
    search: str
    backbone: str = ""
    weights: str = ""
    from_scratch: bool = False
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


@dataclass(frozen=True)
class Measured:
    """What was measured on this machine, in seconds of the clock."""

    start: float  # from the start of a command to its first step
    supernet_step: float = 0.0  # an iteration of the supernet, mean over its paths
    recalibration: float = 0.0  # an image of a candidate's recalibration
    evaluation: float = 0.0  # an image of an evaluation


@dataclass(frozen=True)
class Task:
    """
    What a step does in about so many seconds: train, evaluate so many candidates, or race so many starts. Candidates
    that race stop early if they have no hope.
    """

    step: str
    seconds: float
    candidates: int = 0
    racing: bool = False

    def __str__(self):
        if self.step == RACE:
            return f"{self.candidates} starts"
        return f"{self.candidates} candidates" + ", racing" * self.racing if self.candidates else "training"


@dataclass
class Plan:
    """What was decided once and holds for a run, however often it is interrupted."""

    request: Request
    sets: Sets
    images: Counts
    measured: Measured  # what the race measures comes later
    recipes: dict = field(default_factory=dict)  # space -> Recipe
    space: str = ""  # of the search, or of the first start
    search: bool = False  # whether to search
    why: str = ""  # the reason
    starts: list = field(default_factory=list)  # of the network that needs no search; none where a limit excludes it
    no_weights: str = ""  # why none of them is pre-trained
    latency: str = ""  # where it is limited, how it was measured and how well others are predicted
    decisions: list = field(default_factory=list)  # a sentence for each
    spent: float = 0.0  # seconds that the planning took
    data: dict = field(default_factory=dict)  # what train and test were made of

    @property
    def recipe(self) -> Recipe:
        return self.recipes[self.space]

    @property
    def budget(self) -> float:
        """Seconds of all."""
        return self.request.hours * 3600

    @property
    def closing(self) -> float:
        """Seconds that report, drawings and exported files take at the end."""
        starts = (3 if self.search else 1.5) + 2 * len(self.request.format)
        return starts * self.measured.start + SHEET_IMAGES * self.measured.evaluation

    @property
    def steps(self) -> list:
        """The trainings and the search, in their order."""
        plain = [RACE, PLAIN] if len(self.starts) > 1 else [PLAIN] * len(self.starts)
        return [*(SHARES if self.search else ()), *plain]

    def task(self, step: str, seconds: float) -> Task:
        """What a step does in the seconds that it has."""
        if step != "search":
            return Task(step, seconds, candidates=len(self.starts) if step == RACE else 0)
        times, images = self.measured, self.images
        recalibrated = min(self.recipe.recalibration, images.search)
        each = times.recalibration * recalibrated + times.evaluation * images.holdout
        # Afterwards the winner is recalibrated once more, and pictures are drawn.
        beside = times.start + each
        racing = images.holdout >= RACING_IMAGES and (
            _candidates(seconds - beside, each * RACING_RATIO) >= RACING_CANDIDATES)
        each *= RACING_RATIO if racing else 1
        number = _candidates(seconds - beside, each)
        return Task(step, beside + number * each, number, racing)

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
            # Other files can be asked for at any time.
            if name != "format" and now != value:
                before, now = ((" and ".join(v) if isinstance(v, list) else v) or "none" for v in (value, now))
                raise UserError(f"{folder} holds a run with --{name} {before}, not {now}: give another --output, or "
                                "remove it")
        parts: dict = {"sets": Sets, "images": Counts, "measured": Measured}
        parts = {name: kind(**there[name]) for name, kind in parts.items()}
        parts["recipes"] = {space: Recipe(**recipe) for space, recipe in there["recipes"].items()}
        parts["starts"] = [Start(**start) for start in there["starts"]]
        return cls(**{**there, **parts, "request": request})


def _candidates(seconds, each):
    number = int(seconds / each) // GENERATION * GENERATION
    return min(max(number, LEAST_CANDIDATES), MOST_CANDIDATES)


def divide(rest: float, steps: list, spent: float = 0.0, starts: int = 2) -> dict:
    """
    Seconds of each step that is left. The plain network, with the race of its starts, gets as long as supernet, search
    and winner together, so that both can be compared.

    Args:
        rest: seconds.
        steps: the steps left, out of ``SHARES``, ``RACE`` and ``PLAIN``.
        spent: seconds that the search's steps have taken that are done.
        starts: how many race.
    """
    rest, searched = max(rest, 0.0), [step for step in steps if step in SHARES]
    if not searched:
        # Alone it gets everything; after a search no more than the search had.
        plain = min(rest, spent) if spent else rest
    elif PLAIN in steps:
        # Half of all; if the steps before took more than that, still a part of what is left.
        plain = rest - max((rest + spent) / 2 - spent, rest / 8)
    else:
        plain = 0.0
    whole = sum(SHARES[step] for step in searched)
    shares = {step: (rest - plain) * SHARES[step] / whole for step in searched}
    race = plain * race_share(starts)[0] if RACE in steps else 0.0
    return shares | ({RACE: race} if race else {}) | ({PLAIN: plain - race} if PLAIN in steps else {})


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
