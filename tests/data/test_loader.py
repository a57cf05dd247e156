import itertools
import random
import zlib

import numpy as np
import pytest
import torch
from detectron2.data import build, samplers
from detectron2.data.common import AspectRatioGroupedDataset
from detectron2.utils.env import seed_all_rng
from toy_runs import TASKS, detection, toy_setup

from detnas.data.loader import TrainingData, _in_order, seed_rngs
from detnas.data.mapper import build_mapper


def same(a, b):
    """Whether two samples are equal in all that they hold."""
    assert a.keys() == b.keys() and a["file_name"] == b["file_name"]
    if "label" in a:
        assert a["label"] == b["label"]
    else:
        assert torch.equal(a["instances"].gt_boxes.tensor, b["instances"].gt_boxes.tensor)
        assert torch.equal(a["instances"].gt_classes, b["instances"].gt_classes)
    return torch.equal(a["image"], b["image"])


@pytest.mark.parametrize(
    "workers, gigabytes, seed", [(0, 0.0, 0), (0, 1.0, 1), (1, 5 * 128 * 128 * 3 / 1e9, 0), (2, 0.0, 1), (2, 1.0, 0)]
)
@pytest.mark.parametrize("name, data", TASKS.values())
def test_every_draw_of_an_image_is_augmented_anew_by_the_seed_whatever_workers_cached_images_and_start(
    toy_root, tmp_path, name, data, workers, gigabytes, seed
):
    settings = {"DATALOADER.NUM_WORKERS": workers, "DATALOADER.IMAGE_CACHE_GB": gigabytes, "SEED": seed}
    cfg = toy_setup(name, {**data(toy_root), **settings, "OUTPUT_DIR": tmp_path})
    # The draws put down plainly: every image of an epoch, mapped after its number has seeded the generators.
    training = TrainingData(cfg)
    mapper, dicts = build_mapper(cfg, is_train=True), training._settings["dataset"]
    order = itertools.islice(training._settings["sampler"], 7 * cfg.SOLVER.IMS_PER_BATCH)
    expected = []
    for number, index in enumerate(order):
        seed_rngs("image", seed, number)
        expected.append(mapper(dicts[index]))
    state = torch.get_rng_state()
    # Seven batches of four are three and a half epochs of eight images.
    for start in (0, 3):
        found = itertools.chain(*itertools.islice(training.batches(start), 7 - start))
        assert all(same(x, y) for x, y in zip(found, expected[4 * start :], strict=True))
    # Nor do they draw from the model's generator.
    assert torch.equal(torch.get_rng_state(), state)


def test_a_seed_gives_the_numbers_that_detectron2_would_seed():
    drawn = []
    for seed in (lambda: seed_rngs("image", 3, 5), lambda: seed_all_rng(zlib.crc32(repr(("image", 3, 5)).encode()))):
        seed()
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


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


class SeededSampler(samplers.TrainingSampler):
    def __init__(self, size):
        super().__init__(size, seed=5)


class SeededRepeatFactorSampler(samplers.RepeatFactorTrainingSampler):
    def __init__(self, repeat_factors):
        super().__init__(repeat_factors, seed=5)


@pytest.mark.parametrize(
    "sampler, seeded", [("TrainingSampler", SeededSampler), ("RepeatFactorTrainingSampler", SeededRepeatFactorSampler)]
)
def test_the_order_is_that_of_our_seed_whichever_seed_detectron2_gives_its_samplers(
    toy_root, tmp_path, monkeypatch, sampler, seeded
):
    overrides = {"DATALOADER.SAMPLER_TRAIN": sampler, "DATALOADER.REPEAT_THRESHOLD": 0.9, "SEED": 5}
    cfg = toy_setup("toy_2_train_supernet", {**detection(toy_root), **overrides, "OUTPUT_DIR": tmp_path})
    # What its main branch does.
    for kind in (getattr(build, sampler), seeded):
        monkeypatch.setattr(build, sampler, kind)
        assert list(itertools.islice(TrainingData(cfg)._settings["sampler"], 16)) == ORDERS[sampler]
