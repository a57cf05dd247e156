"""The plan of a run in words: a line for each decision, with its reason."""

import datetime

#: sides in pixels below which an object is hardly found
HARD_TO_FIND = 8

#: step -> what it is called
NAMES = {
    "supernet": "supernet",
    "search": "search",
    "winner": "winner",
    "plain": "plain network",
}


def clock_time(seconds_from_now):
    """Such as 17:40, or Fri 02:15 if that is not today."""
    now = datetime.datetime.now()
    then = now + datetime.timedelta(seconds=seconds_from_now)
    return then.strftime("%H:%M" if then.date() == now.date() else "%a %H:%M")


def duration(seconds):
    """Such as 40 s, 12 min or 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def step_words(settings):
    """What a step does, such as 3200 iterations, or 64 candidates."""
    if "candidates" in settings:
        return f"{settings['candidates']} candidates" + (", racing" if settings["racing"] else "")
    return f"{settings['iterations']} iterations"


def plan_lines(plan, steps):
    """
    Args:
        plan: a :class:`find_detector.plan.Plan`.
        steps: of :func:`find_detector.plan.forecast`.

    Returns:
        list of lines.
    """
    facts, images, recipe, times = plan.facts, plan.images, plan.recipe, plan.times
    lines = [("data", _data(plan), ""), *_oddities(plan)]
    if not plan.arguments["test"]:
        lines.append(("test images", images["test"], "no --test was given, so these were held out: nothing learns from "
                      "them"))
    cores, gpu, gpus = (plan.machine[name] for name in ("cores", "gpu", "gpus"))
    used = f"torch gets {recipe['threads']} of them" + (f"; one of the {gpus} GPUs is used" if gpus > 1 else "")
    lines.append(("machine", f"{cores} core{'s' * (cores > 1)}, {gpu or 'no GPU'}", used))
    lines.append(("search", "yes" if plan.search else "no, a plain network for the whole time", plan.why))
    if plan.search:
        lines.append(("held out for the search", f"{images['holdout']} of {images['train']} training images",
                      "candidates are compared on them; winner and plain network train on all"))
        if not plan.plain:
            lines.append(("plain network", "none", "no network of one op meets the limits"))
    anchors = "; ".join(" ".join(map(str, level)) for level in recipe["anchors"])
    lines += [
        ("space", recipe["space"], f"a step of its supernet takes {times.supernet_step:.2f} s, of all 3x3 "
                                   f"{times.plain_step:.2f} s"),
        ("image size", f"{recipe['shorter']}, longer side up to {recipe['longer']} pixels",
         f"most images are resized to {recipe['scale']:.0%}: {_size_reason(facts, recipe)}"),
        *([("trained on", f"squares of {recipe['piece']} pixels, cut out at random",
            "whole images are too large to train on; tests see them whole")] if recipe["piece"] else []),
        ("anchors", f"{anchors} pixels, height to width {' '.join(map(str, recipe['ratios']))}",
         "from sizes and shapes of the boxes after resizing"),
        ("batch", f"{recipe['batch']} images, learning rate {recipe['rate']:g}", f"as in configs/{recipe['base']}"),
    ]
    given = plan.arguments["limit"]
    if plan.search or given:
        lines.append(("limits", ", ".join(given) or recipe["constraint"], "--limit" if given else "that of the space"))
    if plan.latency:
        lines.append(("latency", "of the whole detector as an ONNX file", plan.latency))
    passed = 0.0
    for step, settings, seconds in steps:
        passed += seconds
        reason = duration(seconds) + (_supernet_note(settings) if step == "supernet" else "")
        lines.append((NAMES[step], f"{step_words(settings)}, done at {clock_time(passed)}", reason))
    last = ["report", "drawings", *plan.arguments["format"]]
    end = clock_time(passed + plan.closing)
    lines.append((", ".join(last if plan.search else last[1:]), f"done at {end}", duration(plan.closing)))
    return [f"{what}: {value}" + (f"  ({why})" if why else "") for what, value, why in lines]


def _supernet_note(settings):
    return "; 17 paths are evaluated twice" if settings["evaluate"] else "; no time to look at its ranking"


def _oddities(plan):
    """What the user may not know of the data."""
    facts, lines = plan.facts, []
    if facts["in_both"]:
        lines.append(("images in both --train and --test", facts["in_both"], "figures on the test will be too good"))
    if facts["without_boxes"]:
        lines.append(("training images without boxes", facts["without_boxes"],
                      "left out of the trainings; held out ones count in tests"))
    if facts["rare"]:
        named = ", ".join(f"{name} {count}" for name, count in list(facts["rare"].items())[:5])
        more = f" and {len(facts['rare']) - 5} more" if len(facts["rare"]) > 5 else ""
        lines.append(("classes with few boxes", named + more, "their AP says little, and no search can go by it"))
    return lines


def _size_reason(facts, recipe):
    small = facts["small_box"] * recipe["scale"]
    return f"one box of ten then has a side of {small:.0f} pixels or less" + (
        ", which is hard to find; more --hours or a GPU allow larger images" if small < HARD_TO_FIND else "")


def _data(plan):
    facts = plan.facts
    low_h, low_w, high_h, high_w = facts["sizes"]
    size = f"{low_w}x{low_h}" if (low_h, low_w) == (high_h, high_w) else f"{low_w}x{low_h} to {high_w}x{high_h}"
    images = plan.images
    classes = f"{facts['classes']} class" + ("es" if facts["classes"] > 1 else "")
    return (f"{images['train']} training images of {size} pixels, {facts['boxes']} boxes, {classes}; {images['test']} "
            "test images")
