import pytest
import torch
from detectron2.config import get_cfg

from detnas.data.fixed_batches import FixedBatches, in_batches, in_equal_batches, padded_test_size

BATCHES = in_batches([{"value": i} for i in range(7)], 2)
BYTES = 3 * 4 * 5


class Mapper:
    """Counts what it reads."""

    def __init__(self):
        self.read = []

    def __call__(self, x):
        self.read.append(x["value"])
        return {**x, "image": torch.full((3, 4, 5), x["value"], dtype=torch.uint8)}


def values(batches):
    found = [[x["value"] for x in batch] for batch in batches]
    assert all((x["image"] == x["value"]).all() for batch in batches for x in batch)
    return found


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("budget", [0, 3 * BYTES, 4 * BYTES, 1000 * BYTES])
def test_every_pass_gives_the_same_batches_in_the_same_order_outside_shared_memory(budget, workers):
    batches = FixedBatches(BATCHES, Mapper(), budget, workers)
    assert len(batches) == 4
    for _ in range(3):
        assert values(batches) == [[0, 1], [2, 3], [4, 5], [6]]
        assert budget < 7 * BYTES or not any(x["image"].is_shared() for batch in batches for x in batch)


@pytest.mark.parametrize("images, again", [(5, [4, 5, 6]), (7, [])])
def test_what_fits_is_read_once_and_the_rest_on_every_pass(images, again):
    mapper = Mapper()
    batches = FixedBatches(BATCHES, mapper, images * BYTES)
    list(batches)
    assert mapper.read == [0, 1, 2, 3, 4, 5, 6]
    list(batches)
    # Two batches fit, the third does not; the last one would, and is not kept: the kept ones are the first ones.
    assert mapper.read[7:] == again


def test_a_pass_that_was_broken_off_harms_nothing():
    mapper = Mapper()
    batches = FixedBatches(BATCHES, mapper, 1000 * BYTES)
    first = iter(batches)
    next(first)
    del first
    assert values(batches) == values(batches) == [[0, 1], [2, 3], [4, 5], [6]]
    assert sorted(mapper.read) == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_draws_nothing_from_torchs_generator(workers):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    list(FixedBatches(BATCHES, Mapper(), 0, workers))
    assert torch.equal(torch.get_rng_state(), state)


def test_only_images_of_equal_padded_size_share_a_batch():
    images = [{"id": i, "size": size} for i, size in enumerate("aabacbaac")]
    batches = in_equal_batches(images, 3, lambda x: x["size"])
    assert [[x["id"] for x in batch] for batch in batches] == [[0, 1, 3], [6, 7], [2, 5], [4, 8]]


@pytest.mark.parametrize(["settings", "image", "expected"], [
    ((800, 1333), {"height": 480, "width": 640}, (800, 1088)),  # 800 x 1067
    ((800, 1333), {"height": 427, "width": 640}, (800, 1216)),  # 800 x 1199
    ((800, 1333), {"height": 200, "width": 640}, (448, 1344)),  # the long side rules: 417 x 1333
    ((0, 1333), {"height": 33, "width": 64}, (64, 64)),  # not resized
])
def test_the_padded_size_is_that_of_detectron2(settings, image, expected):
    cfg = get_cfg()
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = settings
    assert padded_test_size(cfg, 32)(image) == expected
