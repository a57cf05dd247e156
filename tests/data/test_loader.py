import itertools
import random
import zlib

import numpy as np
import pytest
import torch
from detectron2.data import build, samplers
from detectron2.data.common import AspectRatioGroupedDataset
from detectron2.utils.env import seed_all_rng
from toy_runs import TASKS, classification, detection, toy_setup

from detnas.data.loader import TrainingData, _in_order, seed_rngs
from detnas.data.mapper import build_mapper


def batches(cfg, count, start=0):
    return list(itertools.islice(TrainingData(cfg).batches(start), count))


def equal(a, b):
    return [[torch.equal(x["image"], y["image"]) for x, y in zip(p, q)] for p, q in zip(a, b)]


@pytest.mark.parametrize("name, data", TASKS.values())
def test_batches_are_the_same_wherever_the_training_starts(toy_root, tmp_path, name, data):
    cfg = toy_setup(name, {**data(toy_root), "OUTPUT_DIR": tmp_path})
    whole = batches(cfg, 6)
    for start in (0, 1, 4):
        later = batches(cfg, 2, start)
        assert all(map(all, equal(later, whole[start:])))
    assert not all(map(all, equal(whole[:3], whole[3:])))


def test_another_seed_gives_other_images(toy_root, tmp_path):
    overrides = {**classification(toy_root), "OUTPUT_DIR": tmp_path}
    first, second = (batches(toy_setup("toy_1_pretrain_supernet", {**overrides, "SEED": seed}), 1) for seed in (0, 1))
    assert not any(map(any, equal(first, second)))


def test_an_image_that_comes_again_is_augmented_anew(toy_root, tmp_path):
    cfg = toy_setup("toy_1_pretrain_supernet", {**classification(toy_root), "OUTPUT_DIR": tmp_path})
    seen = {}
    for batch in batches(cfg, 12):
        for x in batch:
            seen.setdefault(x["file_name"], []).append(x["image"])
    again = [images for images in seen.values() if len(images) > 1]
    assert again and any(not torch.equal(images[0], images[1]) for images in again)


def same(a, b):
    """Whether two batches are equal in all that they hold."""
    assert [x.keys() for x in a] == [x.keys() for x in b]
    for x, y in zip(a, b):
        assert torch.equal(x["image"], y["image"]) and x["file_name"] == y["file_name"]
        if "instances" not in x:
            assert x["label"] == y["label"]
            continue
        (boxes, classes), (other_boxes, other_classes) = (
            (z["instances"].gt_boxes.tensor, z["instances"].gt_classes) for z in (x, y)
        )
        assert torch.equal(boxes, other_boxes) and torch.equal(classes, other_classes)
    return True


@pytest.mark.parametrize("gigabytes", [0.0, 5 * 128 * 128 * 3 / 1e9, 1.0])
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("name, data", TASKS.values())
def test_neither_workers_nor_cached_images_change_a_batch(toy_root, tmp_path, name, data, workers, gigabytes):
    settings = {"DATALOADER.NUM_WORKERS": workers, "DATALOADER.IMAGE_CACHE_GB": gigabytes}
    cfg = toy_setup(name, {**data(toy_root), **settings, "OUTPUT_DIR": tmp_path})
    # The draws put down plainly: every image of an epoch, mapped after its number has seeded the generators.
    training = TrainingData(cfg)
    mapper, dicts = build_mapper(cfg, is_train=True), training._settings["dataset"]
    order = itertools.islice(training._settings["sampler"], 7 * cfg.SOLVER.IMS_PER_BATCH)
    expected = []
    for number, index in enumerate(order):
        seed_rngs("image", 0, number)
        expected.append(mapper(dicts[index]))
    # Seven batches of four are three and a half epochs of eight images.
    for start in (0, 3):
        found = list(itertools.islice(training.batches(start), 7 - start))
        assert all(same(batch, expected[4 * i : 4 * i + 4]) for i, batch in enumerate(found, start))


def test_a_seed_gives_the_numbers_that_detectron2_would_seed():
    drawn = []
    for seed in (lambda: seed_rngs("image", 3, 5), lambda: seed_all_rng(zlib.crc32(repr(("image", 3, 5)).encode()))):
        seed()
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


def test_the_images_draw_nothing_from_the_models_generator(toy_root, tmp_path):
    cfg = toy_setup("toy_1_pretrain_supernet", {**classification(toy_root), "OUTPUT_DIR": tmp_path})
    stream = TrainingData(cfg).batches()
    before = torch.get_rng_state()
    next(stream)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("start", range(9))
def test_wide_and_high_images_are_grouped_as_detectron2_groups_them_wherever_the_training_starts(start, grouped):
    dicts = [{"width": 4 + index % 3, "height": 5} for index in range(10)]
    order = [index * 7 % 10 for index in range(60)]
    # A draw is its number times 10 plus the index of the image.
    draws = [{**dicts[index], "draw": number * 10 + index} for number, index in enumerate(order)]
    batches = AspectRatioGroupedDataset(draws, 3) if grouped else [draws[i : i + 3] for i in range(0, 60, 3)]
    whole = [[x["draw"] for x in batch] for batch in batches]
    assert list(itertools.islice(_in_order(order, dicts, 3, grouped), start, None)) == whole[start:]


#: the first draws of eight images, as they were when there was Detectron2 0.6 alone
ORDERS = {
    "TrainingSampler": [1, 7, 5, 4, 0, 2, 3, 6, 6, 7, 5, 1, 2, 4, 3, 0],
    "RepeatFactorTrainingSampler": [3, 6, 1, 2, 7, 4, 6, 5, 7, 5, 1, 0, 0, 2, 4, 5],
}


class SeededRepeatFactorSampler(samplers.RepeatFactorTrainingSampler):
    def __init__(self, repeat_factors):
        super().__init__(repeat_factors, seed=5)


SEEDED = {
    "TrainingSampler": lambda size: samplers.TrainingSampler(size, seed=5),
    "RepeatFactorTrainingSampler": SeededRepeatFactorSampler,
}


def order(root, folder, sampler):
    overrides = {"DATALOADER.SAMPLER_TRAIN": sampler, "DATALOADER.REPEAT_THRESHOLD": 0.9, "SEED": 5}
    cfg = toy_setup("toy_2_train_supernet", {**detection(root), **overrides, "OUTPUT_DIR": folder})
    return list(itertools.islice(TrainingData(cfg)._settings["sampler"], 16))


@pytest.mark.parametrize("sampler", ORDERS)
@pytest.mark.parametrize("seeded", [False, True])
def test_the_order_is_that_of_our_seed_whichever_seed_detectron2_gives_its_samplers(
    toy_root, tmp_path, monkeypatch, sampler, seeded
):
    if seeded:
        # What its main branch does.
        monkeypatch.setattr(build, sampler, SEEDED[sampler])
    assert order(toy_root, tmp_path, sampler) == ORDERS[sampler]
