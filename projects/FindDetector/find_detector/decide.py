"""Plans a run by data and machine, and gives reasons for its decisions."""

import torch

from detnas.config.load import load_config
from detnas.data.datasets import check_unchanged, fingerprints, register_datasets
from detnas.data.forms import other_splits
from detnas.data.leaks import check_leaks
from detnas.errors import UserError
from detnas.export.detector_latency import median_times, noise
from detnas.export.network import load_network, load_network_config

from .configs import ConfigWriter
from .data import Facts, hold_out, look
from .plan import MANY_IMAGES, NAMES, Counts, Plan, Request, Sets, clock_time, duration
from .recipe import make_recipe, side_by_side, spaces, this_machine
from .starts import choose_starts

#: seconds of the run for each held-out image; fewest held-out images, unless a fifth of the training images is less
_SECONDS_OF_IMAGE, _LEAST_HELD_OUT = 20, 20
#: fewest images with boxes; boxes below which a class's AP says little
_FEWEST_IMAGES, _FEW_BOXES = 10, 10
#: A run is refused if it needs more than this many times its hours.
_LATE = 1.5
#: side in pixels below which an object is hardly found
_HARD_TO_FIND = 8
#: seconds to time an image
_TIMING = 2.0


def make_plan(request: Request, folder: str, clock) -> Plan:
    """
    Make a plan, and write it and the configs of its starts into a folder; ``clock()`` gives seconds since the start.
    Raises UserError for too few images with boxes, or too few hours.
    """
    started, in_both = clock(), 0
    # Exports and YOLO folders may have their own test and held-out images.
    others = other_splits(request.data)
    sets = Sets(request.data, request.test or others.pop("test", "") or others.pop("val", ""))
    train, test = look(sets.train), look(sets.test, "--test") if sets.test else None
    if len(train.files) < _FEWEST_IMAGES:
        raise UserError(f"{train.name}: {len(train.files)} images with boxes; a family needs at least "
                        f"{_FEWEST_IMAGES}")
    if test:
        val = [others["val"]] if "val" in others else []
        register_datasets([sets.train, sets.test, *val])
        in_both = sum(map(len, check_leaks([sets.train, sets.test]).values()))
        # Images that choose a detector must not test it.
        if val and any(check_leaks([sets.test, *val]).values()):
            del others["val"]
    else:
        sets.train, sets.test = hold_out(train.name, fifth(train.images, 1000))
        train, test = look(sets.train), look(sets.test)
    held_out, least = look(others["val"]).images if "val" in others else 0, fifth(train.images, _LEAST_HELD_OUT)
    if held_out >= least:
        sets.search, sets.holdout, trained_on = sets.train, others["val"], train.images
    else:
        affordable = int(request.hours * 3600 / _SECONDS_OF_IMAGE)
        held_out = max(least, min(fifth(train.images, 1500), affordable))
        sets.search, sets.holdout = hold_out(sets.train, held_out)
        trained_on = train.images - held_out
        look(sets.holdout)
    machine = this_machine()
    plan = Plan(request, sets, Counts(train.images, test.images, trained_on, held_out), started)
    plan.starts, plan.no_weights = choose_starts(
        request, spaces(request.hours, machine.gpu, train.images), bool(machine.gpu))
    for start in plan.starts:
        plan.recipes.setdefault(start.space, make_recipe(start.space, train, machine))
    plan.data = fingerprints([sets.train, sets.test])
    writer = ConfigWriter(plan, folder)
    writer.starts()
    plan.image = detector_seconds(writer.start(plan.starts[0].name), "cuda" if machine.gpu else "cpu")
    plan.spent = clock()
    needed = plan.spent + sum(plan.divide(plan.spent, plan.steps).values())
    if needed > _LATE * plan.budget:
        raise UserError(f"--hours {request.hours:g} are too few: the shortest run on this machine takes about "
                        f"{needed / 3600:.2f} hours")
    plan.details = [*_of_data(plan, train, in_both), *dict.fromkeys([*train.said, *test.said]),
                    *_of_detector(plan, train, writer)]
    plan.decisions = summary(plan)
    plan.save(folder)
    return plan


def detector_seconds(file: str, device: str) -> float:
    """Seconds of a test image in torch with the detector of a config, one thread, random weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cfg = load_network_config(file)
    model, image = load_network(cfg).to(device), noise(cfg.SEARCH.DETECTOR_RESOLUTION)
    taken, = median_times([lambda: model([{"image": image}])], _TIMING)
    torch.set_num_threads(threads)
    return taken / 1000


def check_data(plan: Plan, folder: str) -> None:
    """Raise a UserError if the data has changed since the plan."""
    names = [plan.sets.train, plan.sets.test]
    register_datasets(names)
    check_unchanged(plan.data, fingerprints(names), f"the run in {folder}")


def fifth(images: int, most: int) -> int:
    """How many of so many images to hold out: a fifth, at least 2, at most ``most``."""
    return min(most, max(2, images // 5))


def summary(plan: Plan) -> list:
    images, first, sizes = plan.images, plan.starts[0], plan.recipe.sweep["SIZES"]
    few = "; so few tell a difference of some AP and no less" if images.test < MANY_IMAGES else ""
    race = f", and {len(plan.starts) - 1} more that race with it" if len(plan.starts) > 1 else ""
    beside = "beside it" if side_by_side(2) > 1 else "after it"
    return _describe(
        ("data", f"{images.search} images to train on, {images.holdout} to choose by, {images.test} to test with{few}",
         ""),
        ("starts from", f"{first.about}{race}", first.licence and f"licence of the weights: {first.licence}"),
        ("trains", f"one family of detectors for images of {sizes[0]} to {sizes[-1]} pixels, and {beside} a plain "
                   f"detector of {sizes[-1]} as a control", ""),
        ("you get", "detectors from the fastest to the best, each as an ONNX file with its AP and its time on this "
                    "machine, and the one to take", ""),
    )


def _describe(*decisions):
    """A line for each (what, value, why), unless the value is None, 0 or empty."""
    return [f"{what}: {value}" + (f"  ({why})" if why else "") for what, value, why in decisions if value]


def _of_data(plan, train, in_both):
    """Lines about what the user may not know of the data."""
    images, own_test = plan.images, plan.request.test
    low, high = ("x".join(f"{side:.0f}" for side in sides[::-1]) for sides in (train.sizes.min(0), train.sizes.max(0)))
    classes = f"{len(train.classes)} class" + "es" * (len(train.classes) > 1)
    rare = [f"{name} {count}" for name, count in train.classes.items() if count < _FEW_BOXES]
    return _describe(
        ("images", f"{images.train} of {low if low == high else f'{low} to {high}'} pixels, {len(train.boxes)} boxes, "
                   f"{classes}", ""),
        ("images in both the data and --test", in_both, "figures on the test will be too good"),
        ("training images without boxes", train.images - len(train.files),
         "a training leaves them out, a test does not"),
        ("classes with few boxes", ", ".join(rare[:5]) + f" and {len(rare) - 5} more" * (len(rare) > 5),
         "their AP says little"),
        ("test images", not own_test and images.test,
         f"from {plan.sets.test}" if not plan.sets.test.startswith("holdout:") else
         "no --test was given, so these were held out of all steps"),
    )


def _of_detector(plan: Plan, train: Facts, writer: ConfigWriter):
    """Lines about the machine, all starts, and the detector of the first start."""
    recipe, machine = plan.recipe, this_machine()
    cfg = load_config(writer.start(plan.starts[0].name))
    inputs, small = cfg.INPUT, train.small_box() * recipe.scale
    anchors, ratios = cfg.MODEL.ANCHOR_GENERATOR.SIZES, cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS[0]
    hard = ", which is hard to find; more --hours or a GPU allow larger images" if small < _HARD_TO_FIND else ""
    used = f"one of the {machine.gpus} GPUs is used" if machine.gpus > 1 else ""
    return _describe(
        ("machine", f"{machine.cores} core{'s' * (machine.cores > 1)}, {machine.gpu or 'no GPU'}", used),
        *(("start", start.about, start.licence and f"licence of the weights: {start.licence}")
          for start in plan.starts),
        ("no pre-trained weights", plan.no_weights, ""),
        ("image size", f"{inputs.MIN_SIZE_TEST}, longer side up to {inputs.MAX_SIZE_TEST} pixels",
         f"most images are resized to {recipe.scale:.0%}: one box of ten then has a side of {small:.0f} pixels or "
         f"less{hard}"),
        ("anchors", f"{'; '.join(' '.join(map(str, level)) for level in anchors)} pixels, height to width "
                    f"{' '.join(map(str, ratios))}", "from sizes and shapes of the boxes after resizing"),
        ("batch", f"{cfg.SOLVER.IMS_PER_BATCH} images, learning rate {cfg.SOLVER.BASE_LR:g}",
         f"for configs/{recipe.base}" + ", in mixed precision" * cfg.SOLVER.AMP.ENABLED),
        ("trained on", inputs.CROP.ENABLED and f"squares of {inputs.MAX_SIZE_TRAIN} pixels, cut out at random",
         "whole images are too large to train on; tests see them whole"),
        ("family", f"detectors of sizes {' '.join(map(str, recipe.sweep['SIZES']))} with "
                   f"{' '.join(map(str, recipe.sweep['CHOICES'][0][1:]))} proposals"
                   + ", of the whole network and of parts of it" * bool(plan.start_taken.parts),
         f"{plan.children()} of them are compared"),
    )


def step_lines(plan: Plan, seconds: dict) -> list:
    """A line for each step in ``seconds``, step -> seconds: when it will be done, and its duration."""
    lines, passed = [], 0.0
    for step, taken in seconds.items():
        passed += taken
        lines += _describe((NAMES[step], f"done at {clock_time(passed)}", duration(taken)))
    return lines
