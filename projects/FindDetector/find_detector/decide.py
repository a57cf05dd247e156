"""Makes the plan of a run: looks at data and machine, measures, decides, and says why."""

import os
from dataclasses import replace

from detnas.config.load import load_config
from detnas.data.datasets import check_unchanged, fingerprints, register_datasets
from detnas.data.forms import other_splits
from detnas.data.leaks import check_leaks
from detnas.errors import UserError

from . import plan as planned
from .configs import ConfigWriter
from .data import Facts, hold_out, look
from .measure import measured_limits, plain_network
from .plan import NAMES, RACE, SHARES, Counts, Measured, Plan, Request, Sets, Task, clock_time, divide, duration
from .recipe import make_recipe, spaces, this_machine
from .starts import choose_starts, should_search

#: most seconds for which the steps of a training are measured, and most as a share of all time
_MEASURED_SECONDS, _MEASURED_SHARE = 30, 0.02
#: A smaller space is taken if a supernet would get fewer iterations (experiments/RESULTS.md).
NEEDED_ITERATIONS = 2000
#: seconds of all for each image that is held out for the race of starts, and fewest of them
_SECONDS_OF_IMAGE, _LEAST_RACE_IMAGES = 20, 20
#: fewest images with boxes from which some can be held out; the AP of a class with fewer boxes says little
_FEWEST_IMAGES, _FEW_BOXES = 10, 10
#: A run that would take more than this many times the hours given is refused.
_LATE = 1.5
#: side in pixels below which an object is hardly found
_HARD_TO_FIND = 8


def make_plan(request: Request, folder: str, root: str, measure, clock) -> Plan:
    """
    Look, measure and decide; writes all configs, the divided data and the plan into the folder.

    Args:
        root: of the project.
        measure: a function like :func:`find_detector.measure.measure`.
        clock: function that gives the seconds since the start.
    """
    started, in_both = clock(), 0
    os.makedirs(folder, exist_ok=True)
    # An export, or a YOLO folder, has its own test and held-out images.
    others = other_splits(request.train)
    sets = Sets(request.train, request.test or others.pop("test", "") or others.pop("val", ""))
    train, test = look(sets.train), look(sets.test, "--test") if sets.test else None
    if len(train.files) < _FEWEST_IMAGES:
        raise UserError(f"{train.name}: {len(train.files)} images with boxes; a detector needs at least "
                        f"{_FEWEST_IMAGES}, some of which are held out")
    if test:
        register_datasets([sets.train, sets.test])
        in_both = sum(map(len, check_leaks([sets.train, sets.test]).values()))
    else:
        sets.train, sets.test = hold_out(train.name, fifth(train.images, 1000))
        train, test = look(sets.train), look(sets.test)
    sets.search = sets.holdout = sets.train
    images = Counts(train.images, test.images, train.images, train.images)
    plan = Plan(request, sets, images, Measured(started))
    plan = choose(plan, train, folder, root, lambda *args: measure(*args, started))
    if "val" in others:
        sets.holdout = others["val"]
        images.holdout = look(sets.holdout).images
    elif plan.search or len(plan.starts) > 1:
        images.holdout = min(fifth(train.images, 1500), max(int(plan.budget / _SECONDS_OF_IMAGE), _LEAST_RACE_IMAGES))
        if plan.search:
            seconds = divide(plan.budget - clock() - plan.closing, plan.steps)["search"]
            images.holdout = held_out_images(train.images, seconds, plan.measured.evaluation)
        images.search -= images.holdout
        sets.search, sets.holdout = hold_out(sets.train, images.holdout)
    said = dict.fromkeys([*train.said, *test.said])
    writer = ConfigWriter(plan, folder, root)
    for space in plan.recipes:
        writer.base(space)
    writer.starts()
    plan.decisions = [*_of_data(plan, train, in_both), *said, *_of_detector(plan, train, writer)]
    plan.data = fingerprints([sets.train, sets.test])
    plan.spent = clock()
    shares = divide(plan.budget - plan.spent - plan.closing, plan.steps, starts=len(plan.starts))
    tasks = [plan.task(step, seconds) for step, seconds in shares.items()]
    needed = plan.spent + plan.closing + sum(task.seconds for task in tasks)
    if needed > _LATE * plan.budget:
        raise UserError(f"--hours {request.hours:g} are too few: the shortest run on this machine takes about "
                        f"{needed / 3600:.2f} hours")
    for task in tasks:
        if task.step in SHARES:
            writer.write(task)
    plan.save(folder)
    return plan


def check_data(plan: Plan, folder: str) -> None:
    """Raise a UserError if the data is no longer that of the plan."""
    names = [plan.sets.train, plan.sets.test]
    register_datasets(names)
    check_unchanged(plan.data, fingerprints(names), f"the run in {folder}")


def fifth(images: int, most: int) -> int:
    """How many of the images to hold out: a fifth, and no more than ``most``."""
    return min(most, max(2, images // 5))


def held_out_images(images: int, seconds: float, one_image: float) -> int:
    """
    How many training images to hold out for the search: a fifth, 1500 at most, and so few that four generations fit
    into its seconds, but 30 if there are as many.
    """
    affordable = int(seconds / (4 * planned.GENERATION) / one_image)
    return min(fifth(images, 1500), max(affordable, 30))


def choose(plan: Plan, train: Facts, folder: str, root: str, measure) -> Plan:
    """
    The plan with its starts and, with a search, the largest space whose supernet gets enough iterations, or the
    smallest one, and what was measured of it.
    """
    request, machine = plan.request, this_machine()
    alone, searched = (spaces(request.hours, machine.gpu, train.images, search) for search in (False, True))
    tried = list(dict.fromkeys([*alone, *searched]))
    plan.recipes = {space: make_recipe(space, train, machine, root) for space in tried}
    plains, problem = {}, None
    for space in tried:
        writer, file = _measured_config(plan, space, folder, root)
        try:
            limits = measured_limits(writer, file)
            plains[space] = plain_network(limits)
            plan.latency = limits.costs.header().get("detector_latency", "")
        except UserError as e:
            # A smaller space may have a network within the limits.
            problem = e
    if not plains:
        raise problem  # type: ignore[misc]  # one of the two is there
    fits = {space: plains[space] for space in alone if plains.get(space)}
    plan.starts, plan.no_weights = choose_starts(request, fits, bool(machine.gpu))
    for start in plan.starts:
        plan.recipes.setdefault(start.space, make_recipe(start.space, train, machine, root))
    all_3x3 = any(plain[:1] == ["all 3x3"] for plain in plains.values())
    plan.search, plan.why = should_search(request, train.images, machine.gpu, all_3x3, bool(fits), plan.no_weights)
    if plan.search:
        for plan.space in (space for space in searched if space in plains):
            _, file = _measured_config(plan, plan.space, folder, root)
            seconds = min(_MEASURED_SECONDS, _MEASURED_SHARE * plan.budget)
            plan.measured = measure(file, seconds, plan.recipe.threads)
            if divide(plan.budget, plan.steps)["supernet"] / plan.measured.supernet_step >= NEEDED_ITERATIONS:
                break
    plan.space = plan.space or plan.starts[0].space
    used = {plan.space, *(start.space for start in plan.starts)}
    plan.recipes = {space: recipe for space, recipe in plan.recipes.items() if space in used}
    return plan


def _measured_config(plan, space, folder, root):
    """The writer for a space, and the file of a config of its supernet."""
    writer = ConfigWriter(replace(plan, space=space), folder, root)
    writer.base(space)
    writer.write(Task("measure", 0), iterations=100_000)
    return writer, writer.path("measure")


def _describe(*decisions):
    """A line for each (what, value, why), unless the value is None, 0 or empty."""
    return [f"{what}: {value}" + (f"  ({why})" if why else "") for what, value, why in decisions if value]


def _of_data(plan, train, in_both):
    """What the user may not know of the data."""
    images, own_test = plan.images, plan.request.test
    low, high = ("x".join(f"{side:.0f}" for side in sides[::-1]) for sides in (train.sizes.min(0), train.sizes.max(0)))
    classes = f"{len(train.classes)} class" + "es" * (len(train.classes) > 1)
    rare = [f"{name} {count}" for name, count in train.classes.items() if count < _FEW_BOXES]
    return _describe(
        ("data", f"{images.train} training images of {low if low == high else f'{low} to {high}'} pixels, "
                 f"{len(train.boxes)} boxes, {classes}; {images.test} test images", ""),
        ("images in both --train and --test", in_both, "figures on the test will be too good"),
        ("training images without boxes", train.images - len(train.files),
         "a training leaves them out, a test does not"),
        ("classes with few boxes", ", ".join(rare[:5]) + f" and {len(rare) - 5} more" * (len(rare) > 5),
         "their AP says little, and no search can go by it"),
        ("test images", not own_test and images.test,
         f"those of {plan.sets.test}" if not plan.sets.test.startswith("holdout:") else
         "no --test was given, so these were held out of all steps"),
        ("held out", images.holdout < images.train and f"{images.holdout} of {images.train} training images",
         "starts and candidates are compared on them; at the end all are trained on"),
    )


def _of_detector(plan: Plan, train: Facts, writer: ConfigWriter):
    """Machine, search, starts, and the detector of the search or of the first start."""
    recipe, measured, limit, machine = plan.recipe, plan.measured, plan.request.limit, this_machine()
    cfg = load_config(writer.path("measure") if plan.search else writer.start(plan.starts[0].name))
    inputs, small = cfg.INPUT, train.small_box() * recipe.scale
    anchors, ratios = cfg.MODEL.ANCHOR_GENERATOR.SIZES, cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS[0]
    hard = ", which is hard to find; more --hours or a GPU allow larger images" if small < _HARD_TO_FIND else ""
    used = f"; one of the {machine.gpus} GPUs is used" if machine.gpus > 1 else ""
    return _describe(
        ("machine", f"{machine.cores} core{'s' * (machine.cores > 1)}, {machine.gpu or 'no GPU'}",
         f"torch gets {recipe.threads} of them{used}"),
        ("search", "yes" if plan.search else "no", plan.why),
        ("space", plan.search and plan.space, f"a step of its supernet takes {measured.supernet_step:.2f} s"),
        *(("start", start.about, start.licence and f"licence of the weights: {start.licence}")
          for start in plan.starts),
        ("no pre-trained weights", plan.starts and plan.no_weights, ""),
        ("race", RACE in plan.steps and "of these starts, by halving",
         "on the images held out; the best goes on from where it is"),
        ("image size", f"{inputs.MIN_SIZE_TEST}, longer side up to {inputs.MAX_SIZE_TEST} pixels",
         f"most images are resized to {recipe.scale:.0%}: one box of ten then has a side of {small:.0f} pixels or "
         f"less{hard}"),
        ("anchors", f"{'; '.join(' '.join(map(str, level)) for level in anchors)} pixels, height to width "
                    f"{' '.join(map(str, ratios))}", "from sizes and shapes of the boxes after resizing"),
        ("batch", f"{cfg.SOLVER.IMS_PER_BATCH} images, learning rate {cfg.SOLVER.BASE_LR:g}",
         f"for configs/{recipe.base}"),
        ("trained on", inputs.CROP.ENABLED and f"squares of {inputs.MAX_SIZE_TRAIN} pixels, cut out at random",
         "whole images are too large to train on; tests see them whole"),
        ("plain network", "" if plan.starts else "none", "no network of one op meets the limits"),
        ("limits", (plan.search or limit) and (", ".join(limit) or recipe.limit),
         "--limit" if limit else "that of the space"),
        ("latency", plan.latency and "of the whole detector as an ONNX file", plan.latency),
    )


def task_lines(plan: Plan, tasks: list) -> list:
    """A line for each :class:`find_detector.plan.Task` that is left: what it does, and when it will be done."""
    lines, passed = [], 0.0
    for task in tasks:
        passed += task.seconds
        lines += _describe((NAMES[task.step], f"{task}, done at {clock_time(passed)}", duration(task.seconds)))
    last = [*(["report"] if plan.search else []), "drawings", *plan.request.format]
    end = clock_time(passed + plan.closing)
    return [*lines, *_describe((", ".join(last), f"done at {end}", duration(plan.closing)))]
