import types

import pytest
import torch

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
def test_every_pass_gives_the_same_batches_in_the_same_order(budget, workers):
    batches = FixedBatches(BATCHES, Mapper(), budget, workers)
    assert len(batches) == 4
    for _ in range(3):
        assert values(batches) == [[0, 1], [2, 3], [4, 5], [6]]


def test_what_fits_is_read_once_and_the_rest_on_every_pass():
    mapper = Mapper()
    batches = FixedBatches(BATCHES, mapper, 5 * BYTES)
    list(batches)
    assert mapper.read == [0, 1, 2, 3, 4, 5, 6]
    list(batches)
    # Two batches fit, the third does not; the last one would, and is not kept: the kept ones are the first ones.
    assert mapper.read[7:] == [4, 5, 6]


def test_everything_fits_by_a_byte():
    mapper = Mapper()
    batches = FixedBatches(BATCHES, mapper, 7 * BYTES)
    list(batches)
    list(batches)
    assert len(mapper.read) == 7


def test_a_pass_that_was_broken_off_harms_nothing():
    mapper = Mapper()
    batches = FixedBatches(BATCHES, mapper, 1000 * BYTES)
    first = iter(batches)
    next(first)
    del first
    assert values(batches) == values(batches) == [[0, 1], [2, 3], [4, 5], [6]]
    assert sorted(mapper.read) == [0, 1, 2, 3, 4, 5, 6]


def test_what_a_worker_read_is_kept_outside_shared_memory():
    batches = FixedBatches(BATCHES, Mapper(), 1000 * BYTES, workers=1)
    assert not any(x["image"].is_shared() for batch in batches for x in batch)
    assert not any(x["image"].is_shared() for batch in batches for x in batch)


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


def test_an_image_of_unknown_size_stays_alone():
    batches = in_equal_batches([{"id": i} for i in range(3)], 8, lambda x: None)
    assert [len(batch) for batch in batches] == [1, 1, 1]


def cfg_of(shortest, longest):
    return types.SimpleNamespace(INPUT=types.SimpleNamespace(MIN_SIZE_TEST=shortest, MAX_SIZE_TEST=longest))


@pytest.mark.parametrize(
    ["settings", "size", "expected"],
    [
        ((800, 1333), (480, 640), (800, 1088)),  # 800 x 1067
        ((800, 1333), (427, 640), (800, 1216)),  # 800 x 1199
        ((800, 1333), (200, 640), (448, 1344)),  # the long side rules: 417 x 1333
        ((0, 1333), (33, 64), (64, 64)),  # not resized
    ],
)
def test_the_padded_size_is_that_of_detectron2(settings, size, expected):
    assert padded_test_size(cfg_of(*settings), 32)({"height": size[0], "width": size[1]}) == expected


def test_an_image_without_a_size_has_no_padded_size():
    assert padded_test_size(cfg_of(800, 1333), 32)({"file_name": "a.jpg"}) is None
