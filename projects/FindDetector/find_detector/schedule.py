"""Divides time among the steps, and turns seconds into iterations and candidates. Numbers in, numbers out."""

from dataclasses import dataclass

#: Shares of the time of all that a search needs. The winner gets most: a search pays where its winner is trained about
#: as long as the plain network would be (docs/results.md).
SHARES = {"supernet": 0.35, "search": 0.15, "winner": 0.5}
PLAIN = "plain"
#: fewest iterations that a training is started for
LEAST_ITERATIONS = 50
#: fewest and most candidates; so many make a generation
LEAST_CANDIDATES, MOST_CANDIDATES, GENERATION = 16, 240, 16
#: held-out images and candidates from which on a race is run, and what it leaves of the time (experiments/RESULTS.md)
RACING_IMAGES, RACING_CANDIDATES, RACING_RATIO = 1000, 128, 0.36
#: Below these a plain network was the better use of the time in most of what was measured (docs/results.md): hours
#: without and with a GPU, training images.
SEARCH_HOURS, SEARCH_GPU_HOURS, SEARCH_IMAGES = 1.0, 0.25, 1000


@dataclass(frozen=True)
class Measured:
    """
    What was measured on this machine, in seconds of the clock.

    Args:
        start: from the start of a command to its first step.
        supernet_step, plain_step: an iteration of the supernet (mean over its paths), of all 3x3.
        recalibration, evaluation: an image of a candidate's recalibration, and of an evaluation.
    """

    start: float
    supernet_step: float
    plain_step: float
    recalibration: float
    evaluation: float

    def candidate(self, recalibration_images, held_out):
        """Seconds of a candidate that is evaluated to its end."""
        return self.recalibration * recalibration_images + self.evaluation * held_out


def divide(rest, steps, spent=0.0):
    """
    Divide the rest of the time among the steps that are left.

    The plain network gets as long as supernet, search and winner together, so that both can be compared.

    Args:
        rest: seconds.
        steps: names of those left, out of ``SHARES`` and ``PLAIN``.
        spent: seconds that the search's steps have taken that are done.

    Returns:
        {step: seconds}
    """
    rest = max(rest, 0.0)
    searched = [step for step in steps if step != PLAIN]
    if not steps:
        return {}
    if not searched:
        # Alone it gets everything; after a search no more than that.
        return {PLAIN: min(rest, spent) if spent else rest}
    time = rest
    if PLAIN in steps:
        # Half of all; if the steps before took more than that, still a part of what is left.
        time = max((rest + spent) / 2 - spent, rest / 8)
    whole = sum(SHARES[step] for step in searched)
    shares = {step: time * SHARES[step] / whole for step in searched}
    return {**shares, **({PLAIN: rest - time} if PLAIN in steps else {})}


def iterations(seconds, beside, step):
    """How many iterations of ``step`` seconds fit into those of a training that takes ``beside`` of them otherwise."""
    return max(LEAST_ITERATIONS, int((seconds - beside) / step))


def candidates(seconds, beside, one, held_out):
    """
    How many candidates fit into the seconds of a search that takes ``beside`` of them otherwise.

    Returns:
        (their number, a multiple of ``GENERATION``, and whether they race)
    """
    def fit(each):
        number = int((seconds - beside) / each) // GENERATION * GENERATION
        return min(max(number, LEAST_CANDIDATES), MOST_CANDIDATES)

    raced = fit(one * RACING_RATIO)
    if held_out >= RACING_IMAGES and raced >= RACING_CANDIDATES:
        return raced, True
    return fit(one), False


def held_out_images(images, seconds=None, one_image=None):
    """
    How many of the training images to hold out for the search: a fifth, 1500 at most; and if seconds of the search and
    of the evaluation of an image are given, so few that four generations fit, but 30 at least where there are so many.
    """
    count = min(1500, max(2, images // 5))
    if seconds is not None:
        affordable = int(seconds / (4 * GENERATION) / one_image)
        count = min(count, max(affordable, 30))
    return count


def test_images(images):
    """How many images to hold out as a test where none are given: a fifth, 1000 at most."""
    return min(1000, max(2, images // 5))


def should_search(hours, images, gpu, plain_fits):
    """
    Whether a search is worth its time, and why.

    Args:
        images: to train on.
        plain_fits: whether a network of 3x3 blocks only meets the user's limits.

    Returns:
        (bool, sentence)
    """
    page = "docs/results.md, When a search pays"
    if not plain_fits:
        return True, f"all 3x3 does not meet the limits, so a mixture has to be found ({page})"
    least = SEARCH_GPU_HOURS if gpu else SEARCH_HOURS
    if hours < least:
        where = f"less than {least * 60:g} minutes " + ("with a GPU" if gpu else "on a CPU")
        return False, f"in {where} the plain network was mostly better where both were measured ({page})"
    if images < SEARCH_IMAGES:
        return False, (f"with {images} training images, fewer than {SEARCH_IMAGES}, the held-out ones cannot tell "
                       f"networks apart: on blood cells the plain network was better ({page})")
    return True, f"{hours:g} hours and {images} training images: long and many enough for a search to pay ({page})"
