"""Makes the plan of a run: looks at data and machine, measures, divides the time; and keeps it in the output folder."""

import dataclasses
import json
import os

from detnas.config.constraint import Constraint
from detnas.config.keys import config_space
from detnas.config.load import load_config
from detnas.cost.limits import Limits
from detnas.files import read_json, write_text
from detnas.space import single_op_paths

from . import schedule
from .configs import RECALIBRATION_IMAGES, ConfigWriter
from .facts import check_parts, look, machine
from .parts import hold_out
from .recipe import NEEDED_ITERATIONS, Recipe, recipe, spaces

PLAN_FILE = "plan.json"
#: seconds for which the steps of a training are measured, and their share of all time at most
_MEASURED_SECONDS, _MEASURED_SHARE = 6, 0.02
#: paths that are evaluated when a supernet is looked at (five ops, twelve random ones), images each of them sees, and
#: the share of the supernet's time that this may take
_LOOK_PATHS, LOOK_IMAGES, _LOOK_SHARE = 17, 100, 0.2


@dataclasses.dataclass
class Plan:
    """
    What was decided once and holds for a run, however often it is interrupted.

    Args:
        arguments: of the command line.
        facts, machine: see :mod:`detnas.own.facts`, as numbers.
        recipe: see :class:`detnas.own.recipe.Recipe`.
        parts: {"train", "search", "holdout", "test"}: data sets as in a config; "search" and "holdout" without a
            search, too.
        images: the same names, and how many images they have.
        measured: see :class:`detnas.own.schedule.Measured`.
        search, why: whether to search, and the reason.
        plain: (name, arch) of the network that needs no search; None where none meets the limits.
        spent: seconds that the planning took.
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

    @property
    def times(self):
        return schedule.Measured(**self.measured)

    @property
    def budget(self):
        """Seconds of all."""
        return self.arguments["hours"] * 3600

    @property
    def closing(self):
        """Seconds that report and drawings take at the end."""
        return (3 if self.search else 2) * self.measured["start"]

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
            times: a :class:`detnas.own.schedule.Measured` newer than that of the plan.

        Returns:
            dict for the method of :class:`detnas.own.configs.ConfigWriter` of this name, and the seconds expected.
        """
        times, images = times or self.times, self.images
        one = times.candidate(min(RECALIBRATION_IMAGES, images["search"]), images["holdout"])
        if step == "search":
            # Afterwards the winner is recalibrated once more, and pictures are drawn.
            beside = times.start + one
            number, racing = schedule.candidates(seconds, beside, one, images["holdout"])
            each = one * (schedule.RACING_RATIO if racing else 1)
            settings = {"candidates": number, "generation": schedule.GENERATION, "racing": racing}
            return settings, beside + number * each
        if step == "supernet":
            look = times.candidate(min(RECALIBRATION_IMAGES, images["search"]), min(LOOK_IMAGES, images["holdout"]))
            look *= 2 * _LOOK_PATHS
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

    def save(self, folder):
        write_text(os.path.join(folder, PLAN_FILE), json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, folder, arguments):
        """
        The plan in a folder; None if there is none.

        Raises:
            ValueError: if it was made for other arguments.
        """
        there = read_json(os.path.join(folder, PLAN_FILE), {})
        if not there:
            return None
        for name, value in there["arguments"].items():
            if arguments[name] != value:
                raise ValueError(f"{folder} holds a run with --{name} {_shown(value)}, not {_shown(arguments[name])}: give "
                                 "another --output, or remove it")
        return cls(**there)


def _shown(value):
    return {True: "on", False: "off", None: "none"}.get(value, value) if isinstance(value, (bool, type(None))) else value


def make_plan(arguments, folder, root, measure, clock):
    """
    Look, measure and decide; writes all configs, the divided data and the plan into the folder.

    Args:
        arguments: {"train", "test", "hours", "limit", "compare", "search"} of the command line.
        root: of the project.
        measure: (config file, seconds, threads) -> dict, see :func:`detnas.own.measure.measure`, with "took" besides.
        clock: function that gives the seconds since the start.

    Returns:
        the :class:`Plan`.

    Raises:
        FileNotFoundError, ValueError: naming what is wrong with data or arguments.
    """
    for limit in arguments["limit"]:
        Constraint.parse(limit)
    train = look(arguments["train"])
    test = look(arguments["test"], "--test") if arguments["test"] else None
    check_parts(train, test)
    here = machine()
    os.makedirs(os.path.join(folder, "data"), exist_ok=True)
    parts = {"train": train.name, "test": arguments["test"]}
    if test is None:
        held = schedule.test_images(train.images)
        parts["train"], parts["test"] = hold_out(train.name, held, os.path.join(folder, "data"), "train", "test")
        train, test = look(parts["train"]), look(parts["test"])
    budget = arguments["hours"] * 3600
    seconds = min(_MEASURED_SECONDS, _MEASURED_SHARE * budget)
    chosen, found, plain, search, why = _choose(arguments, train, here, parts, folder, root, measure, seconds)
    times = schedule.Measured(found["start"], found["step"], *(found[n] for n in ("plain_step", *_PER_IMAGE)))
    plan = Plan(
        arguments, {"without_boxes": train.without_boxes, "boxes": len(train.boxes), "rare": train.rare(),
                    "classes": len(train.classes), "sizes": _sizes(train)},
        here, chosen.as_dict(), parts, {"train": train.images, "test": test.images}, dataclasses.asdict(times),
        search, why, plain, 0.0,
    )
    time = schedule.divide(budget - clock() - plan.closing, plan.steps).get("search", 0)
    _divide_training_images(plan, train, os.path.join(folder, "data"), time)
    plan.spent = clock()
    check_time(plan)
    write_configs(plan, folder, root)
    plan.save(folder)
    return plan


_PER_IMAGE = ("recalibration", "evaluation")


def _choose(arguments, train, here, parts, folder, root, measure, seconds):
    """The largest space of which a supernet, or a plain network, gets the iterations that it needs."""
    problem = None
    tried = spaces(arguments["hours"], here["gpu"], train.images)
    for number, space in enumerate(tried):
        chosen = recipe(space, train, here)
        # Sizes and anchors are those of the space.
        base = os.path.join(folder, "base.yaml")
        if os.path.isfile(base):
            os.remove(base)
        writer = ConfigWriter(folder, root, chosen, parts, arguments["limit"])
        file = writer.measured(parts["train"])
        try:
            plain = plain_network(load_config(file), writer.limits)
        except ValueError as e:
            # A smaller space may have a network within the limits.
            problem = e
            continue
        search, why = wanted(arguments, train.images, here["gpu"], plain)
        found = measure(file, seconds, chosen.threads)
        share = schedule.SHARES["supernet"] * (0.5 if arguments["compare"] and plain else 1) if search else 1
        each = found["step" if search else "plain_step"]
        fits = share * arguments["hours"] * 3600 / each >= NEEDED_ITERATIONS
        if fits or number + 1 == len(tried):
            return chosen, found, plain, search, why
    raise problem


def wanted(arguments, images, gpu, plain):
    """Whether to search, and why."""
    if arguments["search"] == "never":
        return False, "--search never"
    fits = plain is not None and plain[0] == "all 3x3"
    search, why = schedule.should_search(arguments["hours"], images, gpu, fits)
    if arguments["search"] == "always" and not search:
        return True, f"--search always; without it the plain network would be trained alone: {why}"
    return search, why


def plain_network(cfg, limits):
    """
    (name, arch) of the first network of one op that meets the limits, all 3x3 if it does; None if none does.

    Raises:
        ValueError: if no network of the space meets them.
    """
    cfg.SEARCH.CONSTRAINTS = list(limits)
    space = config_space(cfg)
    allowed = Limits(cfg, space)
    return next(([n, space.format(path)] for n, path in single_op_paths(space).items() if allowed(path)), None)


def _divide_training_images(plan, train, folder, seconds):
    """Hold out what the search judges by, so few that it can judge often enough."""
    if not plan.search:
        plan.parts["search"] = plan.parts["holdout"] = plan.parts["train"]
        plan.images["search"] = plan.images["holdout"] = plan.images["train"]
        return
    count = schedule.held_out_images(train.images, seconds, plan.times.evaluation)
    plan.parts["search"], plan.parts["holdout"] = hold_out(plan.parts["train"], count, folder, "search", "holdout")
    plan.images.update(search=train.images - count, holdout=count)


def _sizes(train):
    low, high = train.sizes.min(0), train.sizes.max(0)
    return [*map(int, low), *map(int, high)]


def forecast(plan, rest=None, left=None, spent=0.0):
    """[(step, its settings, seconds expected)] of the steps that are left, each in the time it has by now."""
    rest = plan.budget - plan.spent - plan.closing if rest is None else rest
    shares = schedule.divide(rest, plan.steps if left is None else left, spent)
    return [(step, *plan.settings(step, seconds)) for step, seconds in shares.items()]


def check_time(plan):
    """
    Raises:
        ValueError: if the steps, made as short as they may be, take longer than there is.
    """
    needed = plan.spent + plan.closing + sum(seconds for _, _, seconds in forecast(plan))
    if needed > 1.5 * plan.budget:
        raise ValueError(f"--hours {plan.arguments['hours']:g} are too few: the shortest run on this machine takes about "
                         f"{needed / 3600:.2f} hours")


def write_configs(plan, folder, root):
    """The configs of all steps, as the plan expects them."""
    writer = plan.writer(folder, root)
    writer.base()
    for step, settings, _ in forecast(plan):
        getattr(writer, step)(**settings)


