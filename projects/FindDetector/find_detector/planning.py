"""Makes the plan of a run: looks at data and machine, measures, decides, and divides the time."""

import os

from detnas.errors import UserError

from . import schedule
from .configs import BASE, ConfigWriter
from .facts import check_parts, look, machine
from .limits import plain_network, run_limits
from .parts import hold_out
from .plan import Plan, check_time, forecast
from .recipe import NEEDED_ITERATIONS, recipe, spaces
from .splits import check_leaks

#: seconds for which the steps of a training are measured, and their share of all time at most
_MEASURED_SECONDS, _MEASURED_SHARE = 6, 0.02


def make_plan(arguments, folder, root, measure, clock):
    """
    Look, measure and decide; writes all configs, the divided data and the plan into the folder.

    Args:
        arguments: {"train", "test", "hours", "limit", "compare", "search"} of the command line.
        root: of the project.
        measure: (config file, seconds, threads) -> dict, see :func:`find_detector.measure.measure`.
        clock: function that gives the seconds since the start.

    Returns:
        the :class:`Plan`.

    Raises:
        UserError: naming what is wrong with data or arguments.
    """
    train = look(arguments["train"])
    test = look(arguments["test"], "--test") if arguments["test"] else None
    check_parts(train, test)
    here = machine()
    os.makedirs(os.path.join(folder, "data"), exist_ok=True)
    parts = {"train": train.name, "test": arguments["test"]}
    shared = sum(map(len, check_leaks([train.name, test.name]).values())) if test else 0
    if test is None:
        held = schedule.test_images(train.images)
        parts["train"], parts["test"] = hold_out(train.name, held, os.path.join(folder, "data"), "train", "test")
        train, test = look(parts["train"]), look(parts["test"])
    budget = arguments["hours"] * 3600
    seconds = min(_MEASURED_SECONDS, _MEASURED_SHARE * budget)
    chosen, found, plain, latency, search, why = _choose(arguments, train, here, parts, folder, root, measure, seconds)
    times = {"supernet_step": found["step"], **{name: found[name] for name in _MEASURED}}
    facts = {
        "boxes": len(train.boxes), "classes": len(train.classes), "without_boxes": train.without_boxes,
        "rare": train.rare(), "sizes": _sizes(train), "small_box": train.small_box(), "in_both": shared,
    }
    images = {"train": train.images, "test": test.images}
    plan = Plan(arguments, facts, here, chosen.as_dict(), parts, images, times, search, why, plain, 0.0, latency)
    time = schedule.divide(budget - clock() - plan.closing, plan.steps).get("search", 0)
    _divide_training_images(plan, train, os.path.join(folder, "data"), time)
    plan.spent = clock()
    check_time(plan)
    write_configs(plan, folder, root)
    plan.save(folder)
    return plan


#: what is measured besides the supernet's step
_MEASURED = ("start", "plain_step", "recalibration", "evaluation")


def _choose(arguments, train, here, parts, folder, root, measure, seconds):
    """The largest space of which a supernet, or a plain network, gets the iterations that it needs, or the smallest."""
    problem = possible = None
    by_search = {search: spaces(arguments["hours"], here["gpu"], train.images, search) for search in (True, False)}
    # A network alone has time for larger ones.
    for space in by_search[arguments["search"] == "always"]:
        chosen = recipe(space, train, here)
        # Sizes and anchors are those of the space.
        base = os.path.join(folder, BASE)
        if os.path.isfile(base):
            os.remove(base)
        writer = ConfigWriter(folder, root, chosen, parts, arguments["limit"])
        file = writer.measured(parts["train"])
        try:
            limits = run_limits(writer, file)
            plain = plain_network(limits)
            search, why = wanted(arguments, train.images, here["gpu"], plain)
        except UserError as e:
            # A smaller space may have a network within the limits.
            problem = e
            continue
        if space not in by_search[search]:
            continue
        found = measure(file, seconds, chosen.threads)
        share = schedule.SHARES["supernet"] * (0.5 if arguments["compare"] and plain else 1) if search else 1
        each = found["step" if search else "plain_step"]
        possible = chosen, found, plain, limits.costs.header().get("detector_latency", ""), search, why
        if share * arguments["hours"] * 3600 / each >= NEEDED_ITERATIONS:
            break
    if possible is None:
        raise problem
    # Of one that was tried after it, and had no network within the limits.
    os.remove(os.path.join(folder, BASE))
    return possible


def wanted(arguments, images, gpu, plain):
    """
    Whether to search, and why.

    Raises:
        UserError: if nothing is left.
    """
    if arguments["search"] == "never":
        if plain is None:
            raise UserError("--search never: no network of one op meets the limits, so one has to be searched for")
        return False, "--search never"
    fits = plain is not None and plain[0] == "all 3x3"
    search, why = schedule.should_search(arguments["hours"], images, gpu, fits)
    if arguments["search"] == "always" and not search:
        return True, f"--search always; without it the plain network would be trained alone: {why}"
    return search, why


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


def write_configs(plan, folder, root):
    """The configs of all steps, as the plan expects them."""
    writer = plan.writer(folder, root)
    writer.base()
    for step, settings, _ in forecast(plan):
        getattr(writer, step)(**settings)
